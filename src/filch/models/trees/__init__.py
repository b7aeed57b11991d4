"""Decision trees: the predictor, how trees are built, read, written and drawn, and what is known of each leaf."""

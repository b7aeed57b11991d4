"""What the attacks on trees are made of: one recursion over boxes, and the paper's own algorithms."""

"""What `kernel_labels` is made of: Gaussian beliefs over score functions, and the rows that halve them."""

"""What `kernel_logistic` is made of: ranks, pencils and fits."""

"""What `binned_linear` is made of: edges, sums of several attributes in one answer, and a fit."""

"""What `logistic` is made of: designs of rows, equations, and beliefs about weights from rounded answers."""

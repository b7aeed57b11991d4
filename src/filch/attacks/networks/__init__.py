"""What the attacks on networks are made of: `perceptron`'s slopes and tensors, `perceptron_relu`'s lines and kinks."""

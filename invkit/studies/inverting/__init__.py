"""Other ways to invert a representation: a regressing decoder, and gradient descent over pixels."""

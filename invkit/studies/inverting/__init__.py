"""Other ways from a representation to an image: a regressed decoder, descent in pixels."""

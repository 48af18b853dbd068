"""Other ways to edit a concept: attribute arithmetic, StarGAN; and the page of both."""

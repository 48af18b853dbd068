"""Edits of a concept and what a judge says of them; other ways to edit: attribute arithmetic, StarGAN."""

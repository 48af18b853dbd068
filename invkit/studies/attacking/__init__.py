"""Attacks, what becomes of images under them, and where along the layers it shows."""

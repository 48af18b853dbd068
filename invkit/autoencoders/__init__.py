"""Autoencoders E, D: images to complete codes z̄ and back."""

from invkit.autoencoders.conv import ConvAutoencoder
from invkit.autoencoders.loading import load_autoencoder

__all__ = ["ConvAutoencoder", "load_autoencoder"]

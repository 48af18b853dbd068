"""Autoencoders E, D: images to complete codes z̄ and back."""

from invkit.autoencoders.conv import ConvAutoencoder

__all__ = ["ConvAutoencoder"]

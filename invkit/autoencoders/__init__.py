"""Autoencoders E, D: images to complete codes z̄ and back."""

from invkit.autoencoders.big import BigAutoencoder
from invkit.autoencoders.conv import ConvAutoencoder
from invkit.autoencoders.discriminator import PatchDiscriminator
from invkit.autoencoders.loading import describe, is_built_in, load_autoencoder, rebuild

__all__ = [
    "BigAutoencoder",
    "ConvAutoencoder",
    "PatchDiscriminator",
    "describe",
    "is_built_in",
    "load_autoencoder",
    "rebuild",
]

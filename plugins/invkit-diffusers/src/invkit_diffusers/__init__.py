"""Autoencoders of Hugging Face diffusers for invkit: AutoencoderKL, AutoencoderTiny and VQModel.

The class is :class:`invkit_diffusers.autoencoder.DiffusersAutoencoder`; this module imports neither it nor diffusers
before it is asked.
"""

from __future__ import annotations

from typing import Any

from invkit.plugins import hookimpl
from invkit_diffusers.published import PUBLISHED

INVKIT_API = 1

_SIZES = (64, 128, 256)


@hookimpl
def list_autoencoders() -> list[str]:
    """List each class at 64, 128 and 256 px; other multiples of the network's downsampling factor work too."""
    return [f"{family}-{size}" for family in PUBLISHED for size in _SIZES]


@hookimpl
def load_autoencoder(name: str, weights: str | None, local_files_only: bool) -> Any:
    """Load an autoencoder with published, other or random weights; None for an unknown name.

    Args:
        name: ``autoencoder-kl-SIZE``, ``autoencoder-tiny-SIZE`` or ``vq-model-SIZE``, SIZE being the side of the
            images in pixels.
        weights: see :func:`invkit_diffusers.loading.load`.
        local_files_only: never download.
    """
    family, _, size = name.rpartition("-")
    if family not in PUBLISHED or not (size.isascii() and size.isdecimal()):
        return None
    from invkit_diffusers.loading import load

    return load(family, int(size), weights, local_files_only=local_files_only)

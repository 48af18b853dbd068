"""The pictures of an autoencoder: images, their reconstructions, and samples of its prior."""

from __future__ import annotations

import torch
from torch import Tensor

from invkit.core import Autoencoder
from invkit.data import ImageSet, decode_all, encode_all, evenly_spaced
from invkit.utils.random import generator_for

__all__ = ["examples", "sheet"]

_SHOWN = 12


def examples(held_out: ImageSet) -> Tensor:
    """Return up to 12 evenly spaced held-out images, (R, 3, S, S) in [0, 1]."""
    return held_out.images(evenly_spaced(len(held_out), _SHOWN))


def sheet(autoencoder: Autoencoder, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return images, their reconstructions, and as many samples of the prior, each (R, 3, S, S), without randomness."""
    codes = encode_all(autoencoder, ImageSet(images)).mean
    drawn = torch.randn(codes.shape, generator=generator_for(0, "sheet"))
    return images, decode_all(autoencoder, codes), decode_all(autoencoder, drawn)

"""What a look at an autoencoder shows: images, their reconstructions, and images that its prior makes."""

from __future__ import annotations

import torch
from torch import Tensor

from invkit.core import Autoencoder
from invkit.data import ImageSet, evenly
from invkit.seeds import generator_for

__all__ = ["examples", "sheet"]

_SHOWN = 12


def examples(held_out: ImageSet) -> Tensor:
    """Give the held-out images that are shown, (R, 3, S, S) in [0, 1]."""
    return held_out.images(evenly(len(held_out), _SHOWN))


@torch.no_grad()
def sheet(autoencoder: Autoencoder, images: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Give images, their reconstructions, and as many images of the prior."""
    device = autoencoder.device
    drawn = torch.randn(len(images), *autoencoder.latent_shape, generator=generator_for(seed, "sheet"))
    seen = autoencoder.decode(autoencoder.encode(images.to(device)).mean)
    return images, seen.cpu(), autoencoder.decode(drawn.to(device)).cpu()

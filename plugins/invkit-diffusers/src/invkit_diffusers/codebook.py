"""The codebook of a VQModel: how far its entries lie apart, and a random one that the codes reach."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from invkit.utils.random import generator_for

__all__ = ["neighbour_distance", "scatter"]

_ROWS = 1024  # entries that are compared with all at once: 32 MiB for 8,192


@torch.no_grad()
def neighbour_distance(codebook: Tensor, entries: Tensor) -> Tensor:
    """Return the distance from some entries to the nearest other that differs.

    Args:
        codebook: (K, D), two different rows at least.
        entries: (M,) their numbers, in any order.

    Returns:
        (M,) float32, positive.
    """
    codebook = codebook.float()
    numbers, places = entries.unique(return_inverse=True)
    nearest = [_nearest_other(codebook[part], codebook) for part in numbers.split(_ROWS)]
    return torch.cat(nearest)[places]


def _nearest_other(points: Tensor, codebook: Tensor) -> Tensor:
    # without products of matrices, whose rounding is as large as what lies between entries far from zero
    distance = torch.cdist(points, codebook, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.masked_fill(distance == 0, torch.inf).amin(1)


@torch.no_grad()
def scatter(network: Any) -> None:
    """Draw the codebook of a random VQModel anew: normal, with the mean and deviation of what it makes of noise.

    diffusers' own entries lie within 1/K of zero, far from all codes, so that every image would get the same few.
    """
    generator = generator_for(0, "codebook")
    codes = network.encode(2 * torch.rand(2, 3, 64, 64, generator=generator) - 1).latents
    weight = network.quantize.embedding.weight
    drawn = torch.randn(weight.shape, generator=generator)
    weight.copy_(codes.mean((0, 2, 3)) + codes.std((0, 2, 3)) * drawn)

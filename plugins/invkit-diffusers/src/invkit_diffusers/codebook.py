"""The codebook of a VQModel: distances between its entries, and random entries on the scale of the codes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from invkit.utils.random import generator_for

__all__ = ["neighbour_distance", "scatter"]

_ROWS = 1024  # entries compared with all others at once: 32 MiB for 8,192


@torch.no_grad()
def neighbour_distance(codebook: Tensor, entries: Tensor) -> Tensor:
    """Return the distance from entries to the nearest different entry.

    Args:
        codebook: (K, D), with at least two different rows.
        entries: (M,) indices of rows, in any order.

    Returns:
        (M,) float32, positive.
    """
    codebook = codebook.float()
    numbers, places = entries.unique(return_inverse=True)
    nearest = [_nearest_other(codebook[part], codebook) for part in numbers.split(_ROWS)]
    return torch.cat(nearest)[places]


def _nearest_other(points: Tensor, codebook: Tensor) -> Tensor:
    # without matrix products, whose rounding errors reach the distance between entries far from zero
    distance = torch.cdist(points, codebook, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.masked_fill(distance == 0, torch.inf).amin(1)


@torch.no_grad()
def scatter(network: Any) -> None:
    """Draw a new codebook for a random VQModel: normal, with mean and standard deviation of its codes of noise.

    diffusers' own entries lie within 1/K of zero, far from all codes, so that all images would share a few entries.
    """
    generator = generator_for(0, "codebook")
    codes = network.encode(2 * torch.rand(2, 3, 64, 64, generator=generator) - 1).latents
    weight = network.quantize.embedding.weight
    drawn = torch.randn(weight.shape, generator=generator)
    weight.copy_(codes.mean((0, 2, 3)) + codes.std((0, 2, 3)) * drawn)

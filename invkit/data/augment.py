"""Photographs seen a little otherwise: mirrored, and cropped."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["mirrored_and_cropped"]

_LEAST = 0.85  # side of a crop, as a share


def mirrored_and_cropped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the images, and show of each a square of 85 to 100 % of its side, at the same size.

    Args:
        images: (B, 3, S, S).
        generator: of the draws, on the CPU.
    """
    n = len(images)
    side, left, top, mirrored = torch.rand(4, n, generator=generator)
    side = 1 - (1 - _LEAST) * side
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = torch.where(mirrored < 0.5, -side, side)
    theta[:, 1, 1] = side
    theta[:, 0, 2], theta[:, 1, 2] = (1 - side) * (2 * left - 1), (1 - side) * (2 * top - 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False).to(images.device)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)

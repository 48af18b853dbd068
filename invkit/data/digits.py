"""ColorDigits: real handwritten digits in random colours, the paper's ColorMNIST without a download."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from invkit.data.concepts import Concept
from invkit.data.imageset import ImageSet, to_uint8
from invkit.utils.random import generator_for

__all__ = ["color_digits"]

_HELD_OUT = 360  # of 1,797 digits


def color_digits(
    split: Literal["train", "test"] = "train", copies: int = 20, size: int = 28, seed: int = 0
) -> ImageSet:
    """Colour scikit-learn's 1,797 handwritten 8×8 digits (Alpaydin & Kaynak, UCI, 1998).

    Each digit is enlarged and drawn `copies` times, slightly turned, scaled and shifted, in a random foreground
    on a random background; colours nearer than 0.5 in RGB are drawn again, for nobody could read such a digit.
    Concepts: `digit`, `foreground`, `background`. The split of the digits is always the same.

    Args:
        split: 1,437 digits to train on or 360 to test on.
        copies: how often each digit is drawn.
        size: side in pixels.
        seed: of colours and positions.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = torch.randperm(len(digits.images), generator=generator_for(0, "colordigits"))
    chosen = order[_HELD_OUT:] if split == "train" else order[:_HELD_OUT]
    rows = chosen.repeat_interleave(copies)
    generator = generator_for(seed, "colours", split)
    masks = torch.from_numpy(digits.images).float()[rows, None] / 16
    masks = F.interpolate(masks, (size, size), mode="bicubic", align_corners=False).clamp(0, 1)
    masks = _jittered(masks, generator)
    foreground, background = _two_colours(len(rows), generator)
    images = masks * foreground[:, :, None, None] + (1 - masks) * background[:, :, None, None]
    return ImageSet(
        to_uint8(images),
        {
            "digit": Concept("class", torch.from_numpy(digits.target)[rows].long(), tuple("0123456789")),
            "foreground": Concept("colour", foreground),
            "background": Concept("colour", background),
        },
        groups=rows,
    )


def _two_colours(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    colours = torch.rand(n, 2, 3, generator=generator)
    while (near := (colours[:, 0] - colours[:, 1]).norm(dim=1) < 0.5).any():
        colours[near] = torch.rand(int(near.sum()), 2, 3, generator=generator)
    return colours[:, 0], colours[:, 1]


def _jittered(masks: Tensor, generator: torch.Generator) -> Tensor:
    """Turn each mask (N, 1, S, S) by up to 8°, scale it by up to 8 % and shift it by up to 1.4 px of 28."""
    turn, scale, dx, dy = (2 * torch.rand(4, len(masks), generator=generator) - 1).unbind()
    angle, zoom = math.radians(8) * turn, 1 + 0.08 * scale
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    affine = torch.stack([cos, -sin, dx / 10, sin, cos, dy / 10], 1).view(-1, 2, 3)
    grid = F.affine_grid(affine, list(masks.shape), align_corners=False)
    return F.grid_sample(masks, grid, align_corners=False)

"""ColorDigits: handwritten digits in random colours, the paper's ColorMNIST without a download."""

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
    """Return ColorDigits: scikit-learn's 1,797 handwritten 8×8 digits (Alpaydin & Kaynak, UCI, 1998) in random colours.

    Each digit is enlarged and drawn `copies` times with a small random rotation, scale and shift, in a random
    foreground colour on a random background. Colours less than 0.5 apart in RGB are redrawn, since the digit would be
    illegible. The train/test split of the digits is fixed.

    Args:
        split: ``"train"`` for 1,437 digits, ``"test"`` for the other 360.
        copies: number of drawings of each digit.
        size: side of the images in pixels.
        seed: of colours and positions.

    Returns:
        digits · copies images with the concepts `digit` (class), `foreground` and `background` (colours); all drawings
        of one digit are one group.

    Example:
        >>> from invkit.data import color_digits
        >>> images = color_digits("test", copies=1)
        >>> len(images), images.size, sorted(images.concepts)
        (360, 28, ['background', 'digit', 'foreground'])
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
    """Rotate masks (N, 1, S, S) by up to 8°, scale them by up to 8 % and shift them by up to 1.4 px of 28."""
    turn, scale, dx, dy = (2 * torch.rand(4, len(masks), generator=generator) - 1).unbind()
    angle, zoom = math.radians(8) * turn, 1 + 0.08 * scale
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    affine = torch.stack([cos, -sin, dx / 10, sin, cos, dy / 10], 1).view(-1, 2, 3)
    grid = F.affine_grid(affine, list(masks.shape), align_corners=False)
    return F.grid_sample(masks, grid, align_corners=False)

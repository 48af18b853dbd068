"""Photographs seen a little otherwise: mirrored, and cropped."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor

from invkit.data.generated import Generated
from invkit.data.imageset import ImageSet, to_uint8
from invkit.data.storage import concatenate_images
from invkit.errors import DataError
from invkit.utils.random import generator_for

__all__ = ["augmented", "random_flip_and_crop"]

_BATCH = 512
_LEAST = 0.85  # side of a crop, as a share


def random_flip_and_crop(images: Tensor, generator: torch.Generator) -> Tensor:
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
    with torch.autocast("cpu", enabled=False):  # in bfloat16 pixels would be an eighth of a pixel off
        grid = F.affine_grid(theta, list(images.shape), align_corners=False).to(images.device)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def augmented(data: ImageSet, copies: int, seed: int) -> ImageSet:
    """Return each image `copies` times, first as it is, then mirrored and cropped anew; copies are one group.

    Raises:
        DataError: more than one of images that a decoder makes of known codes.
    """
    if copies == 1:
        return data
    if isinstance(data.pixels, Generated):
        raise DataError("Images that a decoder makes are not cropped", expected="copies=1 in the settings", got=copies)
    rows = torch.arange(len(data)).repeat(copies)
    pixels = concatenate_images(chain(data.uint8_batches(), _seen_otherwise(data, copies, seed)), len(rows))
    groups = torch.arange(len(data)) if data.groups is None else data.groups
    concepts = {name: concept.take(rows) for name, concept in data.concepts.items()}
    return ImageSet(pixels, concepts, groups[rows], data.indices_of(rows))


def _seen_otherwise(data: ImageSet, copies: int, seed: int) -> Iterator[Tensor]:
    for k in range(1, copies):
        generator = generator_for(seed, "copies", k)
        for part in data.batches(_BATCH):
            yield to_uint8(random_flip_and_crop(part, generator))

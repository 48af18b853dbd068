"""Random flip and crop."""

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
_MIN_CROP = 0.85  # side of a crop, as a fraction of the image's


def random_flip_and_crop(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flip half of the images horizontally, and crop each to a square of 85 to 100 % of its side, resized to S.

    Args:
        images: (B, 3, S, S) float.
        generator: on the CPU.

    Example:
        >>> import torch
        >>> from invkit.data.augment import random_flip_and_crop
        >>> random_flip_and_crop(torch.rand(4, 3, 28, 28), torch.Generator().manual_seed(0)).shape
        torch.Size([4, 3, 28, 28])
    """
    n = len(images)
    side, left, top, mirrored = torch.rand(4, n, generator=generator)
    side = 1 - (1 - _MIN_CROP) * side
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = torch.where(mirrored < 0.5, -side, side)
    theta[:, 1, 1] = side
    theta[:, 0, 2], theta[:, 1, 2] = (1 - side) * (2 * left - 1), (1 - side) * (2 * top - 1)
    with torch.autocast("cpu", enabled=False):  # bfloat16 coordinates would be off by an eighth of a pixel
        grid = F.affine_grid(theta, list(images.shape), align_corners=False).to(images.device)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def augmented(data: ImageSet, copies: int, seed: int) -> ImageSet:
    """Return each image `copies` times: first unchanged, then with random flips and crops.

    Copies of one image share its group, so that a split never divides them.

    Args:
        data: N images.
        copies: number of versions of each image.
        seed: of the draws.

    Returns:
        N · copies images: all originals, then all second versions, and so on.

    Raises:
        DataError: more than one copy of generated images.

    Example:
        >>> import torch
        >>> from invkit.data import ImageSet, augmented
        >>> images = ImageSet(torch.zeros(4, 3, 28, 28, dtype=torch.uint8))
        >>> len(augmented(images, copies=3, seed=0))
        12
    """
    if copies == 1:
        return data
    if isinstance(data.pixels, Generated):
        raise DataError("Generated images cannot be augmented", expected="copies=1 in the settings", got=copies)
    rows = torch.arange(len(data)).repeat(copies)
    pixels = concatenate_images(chain(data.uint8_batches(), _flipped_and_cropped(data, copies, seed)), len(rows))
    groups = torch.arange(len(data)) if data.groups is None else data.groups
    concepts = {name: concept.take(rows) for name, concept in data.concepts.items()}
    return ImageSet(pixels, concepts, groups[rows], data.indices_of(rows))


def _flipped_and_cropped(data: ImageSet, copies: int, seed: int) -> Iterator[Tensor]:
    for k in range(1, copies):
        generator = generator_for(seed, "copies", k)
        for part in data.batches(_BATCH):
            yield to_uint8(random_flip_and_crop(part, generator))

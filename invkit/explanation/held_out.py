"""The held-out images that an explanation carries."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from invkit.data import ImageSet, Rows, StoredImages, evenly_spaced
from invkit.utils.resources import rows_in_memory

__all__ = ["HeldOut"]

_MOST, _LEAST = 600, 100  # images


@dataclass(frozen=True)
class HeldOut:
    """Held-out images, which no part of the explanation was trained on.

    Attributes:
        data: the images and their concepts, (M, 3, S, S).
        z: their representations, (M, …), float32.

    Example:
        >>> import torch
        >>> from invkit.data import ImageSet
        >>> from invkit.explanation import HeldOut
        >>> pixels = torch.zeros(700, 3, 8, 8, dtype=torch.uint8)
        >>> held_out = HeldOut.of(ImageSet(pixels), torch.randn(700, 5))
        >>> len(held_out.data), held_out.z.shape
        (600, torch.Size([600, 5]))
    """

    data: ImageSet
    z: Tensor

    @classmethod
    def of(cls, data: ImageSet, z: Rows) -> HeldOut:
        """Select at most 600 images at even distances; as few as 100 if their representations are large."""
        rows = evenly_spaced(len(data), rows_in_memory(_MOST, z.shape[1:], _LEAST))
        few = data.take(rows)
        if isinstance(few.pixels, StoredImages):  # otherwise the file of all images would stay open
            few = replace(few, pixels=few.pixels[:])
        return cls(few, z[rows])

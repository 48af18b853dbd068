"""What an explanation carries with it to be judged by."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from invkit.data import ImageSet, Rows, StoredImages, evenly_spaced
from invkit.utils.resources import rows_in_memory

__all__ = ["HeldOut"]

_MOST, _LEAST = 600, 100  # images


@dataclass(frozen=True)
class HeldOut:
    """Images that no part of the explanation was trained on.

    Attributes:
        data: the images and their concepts, (M, 3, S, S).
        z: their representations, (M, …), float32.
    """

    data: ImageSet
    z: Tensor

    @classmethod
    def of(cls, data: ImageSet, z: Rows) -> HeldOut:
        """Take from all held-out images as many as an explanation carries with it: fewer of large representations."""
        rows = evenly_spaced(len(data), rows_in_memory(_MOST, z.shape[1:], _LEAST))
        few = data.take(rows)
        if isinstance(few.pixels, StoredImages):  # else the file of all images would stay as long as the explanation
            few = replace(few, pixels=few.pixels.read())
        return cls(few, z[rows])

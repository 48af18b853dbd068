"""What an explanation carries with it to be judged by."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from invkit.data import ImageSet, Rows, evenly

__all__ = ["HeldOut"]

_MOST, _LEAST = 600, 100  # images
_BYTES = 2**28  # of their representations


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
        most = max(_LEAST, _BYTES // (4 * math.prod(z.shape[1:])))
        rows = evenly(len(data), min(_MOST, most))
        return cls(data.take(rows), z[rows])

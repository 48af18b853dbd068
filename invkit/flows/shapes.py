"""Shapes of codes: vectors (D,) and maps (C, H, W)."""

from __future__ import annotations

from collections.abc import Sequence

from invkit.errors import SettingsError

__all__ = ["map_shape"]


def map_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return the shape of a map as a tuple (C, H, W).

    Raises:
        SettingsError: it has another number of axes.
    """
    if len(shape) != 3:
        raise SettingsError("This flow block is for codes that are maps", expected="(C, H, W)", got=tuple(shape))
    return int(shape[0]), int(shape[1]), int(shape[2])

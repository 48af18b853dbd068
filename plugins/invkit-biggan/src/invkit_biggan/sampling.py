"""z̃ from a truncated normal distribution."""

from __future__ import annotations

import torch
from torch import Tensor

from invkit.errors import SettingsError

__all__ = ["truncated_normal"]

_SMALLEST = 0.05  # 4 % of normal values are smaller; below, rejection sampling is slow


def truncated_normal(count: int, dim: int, bound: float, generator: torch.Generator) -> Tensor:
    """Draw standard normal values, and draw each again until it lies in [−bound, bound] (Brock et al., sec. 3.1).

    Args:
        count: number of rows.
        dim: number of columns.
        bound: largest magnitude, at least 0.05.
        generator: source of the random numbers.

    Returns:
        (count, dim).

    Raises:
        SettingsError: the bound is too small.
    """
    if not bound >= _SMALLEST:
        raise SettingsError("The bound of the truncated normal is too small", expected=f"≥ {_SMALLEST}", got=bound)
    values = torch.randn(count, dim, generator=generator)
    while (outside := values.abs() > bound).any():
        values[outside] = torch.randn(int(outside.sum()), generator=generator)
    return values

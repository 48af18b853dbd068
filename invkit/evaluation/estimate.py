"""A number with its standard error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Estimate", "jackknife"]


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error.

    Attributes:
        value: the estimate.
        standard_error: of the value.
        n: number of samples behind it.
    """

    value: float
    standard_error: float
    n: int

    def __sub__(self, other: Estimate) -> Estimate:
        """Give the difference of two independent estimates."""
        error = math.hypot(self.standard_error, other.standard_error)
        return Estimate(self.value - other.value, error, min(self.n, other.n))

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.standard_error:.3f}"


def jackknife(statistic: Callable[[Tensor], Tensor], units: Tensor, n: int) -> Estimate:
    """Give statistic(units) and its standard error by leaving out one independent unit at a time.

    Args:
        statistic: a smooth function of the mean over units, (…, K) to (…).
        units: (M, K), one row for each independent unit.
        n: number of samples to report.
    """
    total, m = units.sum(0), len(units)
    without = statistic((total - units) / (m - 1))
    error = (without - without.mean()).square().sum().mul((m - 1) / m).sqrt()
    return Estimate(float(statistic(total / m)), float(error), n)

"""Calibration: is v = t(z̄ | z) of held-out images standard normal, as t assumes?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from invkit.core import Estimate
from invkit.evaluation.estimate import mean_estimate

__all__ = ["Calibration", "calibration"]

_LEVEL = 0.01  # of the Kolmogorov–Smirnov test


@dataclass(frozen=True)
class Calibration:
    """How close v of held-out images is to N(0, 1).

    Attributes:
        energy: E‖v‖² / N: 1 is best; above 1, held-out codes are less likely than t's own samples, as with
            overfitting.
        ks: Kolmogorov–Smirnov distance, mean over dimensions, 0 to 1.
        ks_of_normal: its expectation for equally many draws of N(0, 1).
        rejected: share of the dimensions in which the test rejects N(0, 1) at the level 0.01.
        correlation: root mean square of the correlations of two dimensions, less that of equally many draws of
            N(0, 1); 0 is best.

    Example:
        >>> Calibration(Estimate(1.02, 0.02, n=600), ks=0.04, ks_of_normal=0.035, rejected=0.0, correlation=0.01).ks
        0.04
    """

    energy: Estimate
    ks: float
    ks_of_normal: float
    rejected: float
    correlation: float


def calibration(v: Tensor, groups: Tensor | None = None) -> Calibration:
    """Compare v (M, N) with N(0, 1), dimension by dimension, and dimensions with each other.

    Tests assume independent draws and use the first image of each group.

    Args:
        v: t(z̄ | z) of held-out images, (M, N).
        groups: (M,), images of one group depend on each other; None if all are independent.

    Example:
        >>> import torch
        >>> found = calibration(torch.randn(500, 4))
        >>> 0.8 < found.energy < 1.2, found.ks < 0.1
        (True, True)
    """
    from scipy.stats import kstest

    energy = mean_estimate(v.double().square().mean(1), groups)
    if groups is not None:
        v = v[_firsts(groups)]
    tests = [kstest(column.numpy(), "norm") for column in v.double().T]
    correlations = torch.atleast_2d(torch.corrcoef(v.double().T))
    apart = correlations[~torch.eye(len(correlations), dtype=torch.bool)]
    excess = apart.square().mean() - 1 / len(v) if len(apart) else torch.zeros(())
    return Calibration(
        energy,
        sum(float(test.statistic) for test in tests) / len(tests),
        _mean_ks(len(v)),
        sum(test.pvalue < _LEVEL for test in tests) / len(tests),
        float(excess.clamp(min=0).sqrt()),
    )


def _mean_ks(n: int) -> float:
    """Return the mean distance of n draws to their own distribution, to 1 % for n ≥ 20 (Stephens, 1970)."""
    root = math.sqrt(n)
    return math.sqrt(math.pi / 2) * math.log(2) / (root + 0.12 + 0.11 / root)


def _firsts(groups: Tensor) -> Tensor:
    """Return the first row of each group."""
    place = groups.unique(return_inverse=True)[1]
    rows = torch.arange(len(groups))
    return torch.full((int(place.max()) + 1,), len(groups)).scatter_reduce(0, place, rows, "amin")

"""Is v = t(z̄ | z) of held-out images the standard normal that t takes it for?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from invkit.core import Estimate
from invkit.evaluation.estimate import mean_estimate

__all__ = ["Calibration", "calibration"]

_LEVEL = 0.01


@dataclass(frozen=True)
class Calibration:
    """How near v of held-out images is to N(0, 1).

    Attributes:
        energy: E‖v‖² / N: 1 at best; above, held-out codes are less likely than t's own samples, as where it knows
            its training images by heart.
        ks: largest distance of distribution functions (Kolmogorov–Smirnov), mean over dimensions, 0 to 1.
        ks_of_normal: the same expected of as many draws of N(0, 1).
        rejected: share of the dimensions in which that test rejects N(0, 1) at the level 0.01.
        correlation: root mean square of the correlations of two dimensions, that of as many draws of N(0, 1) taken
            off; 0 at best.
    """

    energy: Estimate
    ks: float
    ks_of_normal: float
    rejected: float
    correlation: float


def calibration(v: Tensor, groups: Tensor | None = None) -> Calibration:
    """Compare v (M, N) with N(0, 1), dimension by dimension, and dimensions with each other.

    Tests suppose independent draws: they take the first image of each group.

    Args:
        v: t(z̄ | z) of held-out images.
        groups: (M,), images of one group depend on each other; None where each stands alone.
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
    """Return the mean distance of n draws to their own distribution, to 1 % from n = 20 on (Stephens, 1970)."""
    root = math.sqrt(n)
    return math.sqrt(math.pi / 2) * math.log(2) / (root + 0.12 + 0.11 / root)


def _firsts(groups: Tensor) -> Tensor:
    """Return the first row of each group."""
    place = groups.unique(return_inverse=True)[1]
    rows = torch.arange(len(groups))
    return torch.full((int(place.max()) + 1,), len(groups)).scatter_reduce(0, place, rows, "amin")

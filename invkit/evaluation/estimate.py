"""Standard errors by the jackknife over groups of images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from invkit.core import Estimate
from invkit.utils.random import generator_for

__all__ = ["Groups", "block_jackknife", "groups_of_both", "jackknife", "mean_estimate", "standard_error"]

#: dependent rows of two sets: group names (N,) of both, row by row, or of each; None for the row numbers
Groups = Tensor | tuple[Tensor | None, Tensor | None] | None

_BLOCKS = 20  # left out one at a time


def jackknife(statistic: Callable[[Tensor], Tensor], units: Tensor, n: int, groups: Tensor | None = None) -> Estimate:
    """Return statistic(units) and its standard error by leaving out one independent group of units at a time.

    Args:
        statistic: a smooth function of the mean over units, (…, K) to (…).
        units: (M, K).
        n: number of samples, for the estimate's `n`.
        groups: (M,), units of one group depend on each other; None if all are independent.

    Example:
        >>> import torch
        >>> units = torch.tensor([[1.0], [2.0], [3.0]])
        >>> jackknife(lambda mean: mean[..., 0], units, n=3)
        2.000 ± 0.577
    """
    place = (torch.arange(len(units)) if groups is None else groups).unique(return_inverse=True)[1]
    count = place.bincount()[:, None].to(units.dtype)
    sums = torch.zeros(len(count), units.shape[1], dtype=units.dtype).index_add_(0, place, units)
    total = sums.sum(0)
    error = standard_error(statistic((total - sums) / (len(units) - count)))
    return Estimate(float(statistic(total / len(units))), error, n)


def mean_estimate(values: Tensor, groups: Tensor | None = None, n: int | None = None) -> Estimate:
    """Return the mean of values (M,) with its standard error; arguments as in :func:`jackknife`."""
    return jackknife(lambda mean: mean[..., 0], values[:, None].double(), len(values) if n is None else n, groups)


def groups_of_both(groups: Groups, sizes: tuple[int, int], independent: bool) -> list[Tensor]:
    """Return the group of each row of two sets of these sizes; the row number for rows without groups.

    Groups with the same name in both sets are the same group, unless the sets are independent.
    """
    each = groups if isinstance(groups, tuple) else (groups, groups)
    a, b = (torch.arange(n) if own is None else own for own, n in zip(each, sizes, strict=True))
    return [a, b + (a.max() + 1 - b.min()) if independent else b]


def block_jackknife(statistic: Callable[..., Tensor], groups: Sequence[Tensor]) -> Estimate:
    """Return a statistic of sets of rows and its standard error by leaving a block of groups out of all sets at once.

    Images generated from an image are thus left out with it. The error is NaN if fewer than two rows are left.

    Args:
        statistic: function of one mask (N_i,), bool, per set: the rows to use.
        groups: one (N_i,) per set: rows of one group depend on each other, within and across sets.
    """
    blocks = _blocks_of(torch.cat([*groups])).split([len(own) for own in groups])
    value = float(statistic(*(torch.ones_like(own, dtype=torch.bool) for own in blocks)))
    kept = [[own != left_out for own in blocks] for left_out in torch.cat(blocks).unique()]
    if min(int(rows.sum()) for each in kept for rows in each) < 2:
        return Estimate(value, math.nan, len(blocks[-1]))
    return Estimate(value, standard_error(torch.stack([statistic(*each) for each in kept])), len(blocks[-1]))


def _blocks_of(groups: Tensor) -> Tensor:
    """Assign whole groups to 20 blocks at random, (N,) of block numbers; to fewer blocks if there are few groups.

    At random because rows may be sorted by class.
    """
    names, place = groups.unique(return_inverse=True)
    dealt = torch.randperm(len(names), generator=generator_for(0, "blocks"))
    return dealt[place] % max(2, min(_BLOCKS, len(names) // 2))


def standard_error(without: Tensor) -> float:
    """Return the jackknife's standard error from G estimates (G,) that each leave out one group."""
    m = len(without)
    return float((without - without.mean()).square().sum().mul((m - 1) / m).sqrt())

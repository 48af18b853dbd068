"""Standard errors by the jackknife over groups of images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from invkit.core import Estimate
from invkit.utils.random import generator_for

__all__ = ["Groups", "block_jackknife", "groups_of_both", "jackknife", "mean_estimate", "standard_error"]

#: which rows of two sets depend on each other: names (N,) of both, row by row, or of each; None for the rows' numbers
Groups = Tensor | tuple[Tensor | None, Tensor | None] | None

_BLOCKS = 20  # left out one at a time


def jackknife(statistic: Callable[[Tensor], Tensor], units: Tensor, n: int, groups: Tensor | None = None) -> Estimate:
    """Return statistic(units) and its standard error by leaving out one independent group of units at a time.

    Args:
        statistic: a smooth function of the mean over units, (…, K) to (…).
        units: (M, K).
        n: number of samples to report.
        groups: (M,), units of one group depend on each other; None where each stands alone.
    """
    place = (torch.arange(len(units)) if groups is None else groups).unique(return_inverse=True)[1]
    count = place.bincount()[:, None].to(units.dtype)
    sums = torch.zeros(len(count), units.shape[1], dtype=units.dtype).index_add_(0, place, units)
    total = sums.sum(0)
    error = standard_error(statistic((total - sums) / (len(units) - count)))
    return Estimate(float(statistic(total / len(units))), error, n)


def mean_estimate(values: Tensor, groups: Tensor | None = None, n: int | None = None) -> Estimate:
    """Return the mean of values (M,) with the jackknife's standard error; arguments as of :func:`jackknife`."""
    return jackknife(lambda mean: mean[..., 0], values[:, None].double(), len(values) if n is None else n, groups)


def groups_of_both(groups: Groups, sizes: tuple[int, int], independent: bool) -> list[Tensor]:
    """Return the group of each row of two sets of these sizes, the row's number where it stands alone.

    Groups of one name in both sets are the same, or where these are independent two.
    """
    each = groups if isinstance(groups, tuple) else (groups, groups)
    a, b = (torch.arange(n) if own is None else own for own, n in zip(each, sizes, strict=True))
    return [a, b + (a.max() + 1 - b.min()) if independent else b]


def block_jackknife(statistic: Callable[..., Tensor], groups: Sequence[Tensor]) -> Estimate:
    """Return a statistic of sets of rows and its standard error by leaving a block of groups out of all sets at once.

    What is made of an image is so left out with it. NaN where a set is left with fewer than two rows.

    Args:
        statistic: takes for each set which rows count, (N_i,) of bool.
        groups: of each set, (N_i,): rows of one group depend on each other, whichever sets they are in.
    """
    blocks = _blocks_of(torch.cat([*groups])).split([len(own) for own in groups])
    value = float(statistic(*(torch.ones_like(own, dtype=torch.bool) for own in blocks)))
    kept = [[own != left_out for own in blocks] for left_out in torch.cat(blocks).unique()]
    if min(int(rows.sum()) for each in kept for rows in each) < 2:
        return Estimate(value, math.nan, len(blocks[-1]))
    return Estimate(value, standard_error(torch.stack([statistic(*each) for each in kept])), len(blocks[-1]))


def _blocks_of(groups: Tensor) -> Tensor:
    """Deal rows out to 20 blocks, (N,) of their numbers, whole groups to one; to fewer where there are few groups.

    By chance: rows may be in order, and blocks that are all alike in their classes would tell nothing of these.
    """
    names, place = groups.unique(return_inverse=True)
    dealt = torch.randperm(len(names), generator=generator_for(0, "blocks"))
    return dealt[place] % max(2, min(_BLOCKS, len(names) // 2))


def standard_error(without: Tensor) -> float:
    """Return the jackknife's standard error from the estimates (G,) that each leave out one of G groups."""
    m = len(without)
    return float((without - without.mean()).square().sum().mul((m - 1) / m).sqrt())

"""Which rows each step trains on."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from invkit.utils.random import generator_for

__all__ = ["batch_rows"]

_BLOCK, _WINDOW = 1024, 64 * 1024  # rows that lie together, and rows between which an order is drawn


def batch_rows(rows: int, size: int, step: int, seed: int) -> Tensor:
    """Return the rows of a step: without replacement within an epoch, the same whenever the step is reached.

    Of very many, an epoch goes through windows of blocks, so that what is read from files in a while lies together.
    """
    size = min(size, rows)
    blocks = rows // _BLOCK
    windows = max(1, rows // max(_WINDOW, 4 * size))
    bounds = [k * blocks // windows for k in range(windows)] + [blocks]
    lengths = [_BLOCK * (b - a) for a, b in pairwise(bounds)]
    lengths[-1] = rows - sum(lengths[:-1])
    steps = [length // size for length in lengths]
    epoch, step = divmod(step, sum(steps))
    window = 0
    while step >= steps[window]:
        step -= steps[window]
        window += 1
    return _order(rows, bounds[window], bounds[window + 1], seed, epoch)[step * size : (step + 1) * size]


@lru_cache(maxsize=2)
def _order(rows: int, first: int, last: int, seed: int, epoch: int) -> Tensor:
    """Return rows of the blocks that come first to last in an epoch, in random order; the last take the remainder."""
    blocks = rows // _BLOCK
    if last - first == blocks:
        return torch.randperm(rows, generator=generator_for(seed, "epoch", epoch))
    drawn = torch.randperm(blocks, generator=generator_for(seed, "epoch", epoch))[first:last]
    found = (drawn[:, None] * _BLOCK + torch.arange(_BLOCK)).flatten()
    if last == blocks:
        found = torch.cat([found, torch.arange(blocks * _BLOCK, rows)])
    return found[torch.randperm(len(found), generator=generator_for(seed, "epoch", epoch, first))]

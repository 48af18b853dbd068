"""The sampler: the rows of each training step."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from invkit.utils.random import generator_for

__all__ = ["batch_rows"]

_BLOCK, _WINDOW = 1024, 64 * 1024  # rows of a contiguous block, and rows that are shuffled together


def batch_rows(rows: int, size: int, step: int, seed: int) -> Tensor:
    """Return the rows of a step, drawn without replacement within an epoch and determined by step and seed alone.

    Of more than 65,536 rows, an epoch goes through windows of contiguous blocks, so that consecutive steps read nearby
    parts of files.

    Args:
        rows: number of rows.
        size: of a batch.
        step: number of the step.
        seed: of the order.

    Returns:
        Row indices, (size,).
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
    """Return the rows of blocks `first` to `last` of an epoch, shuffled; the last block takes the remainder."""
    blocks = rows // _BLOCK
    if last - first == blocks:
        return torch.randperm(rows, generator=generator_for(seed, "epoch", epoch))
    drawn = torch.randperm(blocks, generator=generator_for(seed, "epoch", epoch))[first:last]
    found = (drawn[:, None] * _BLOCK + torch.arange(_BLOCK)).flatten()
    if last == blocks:
        found = torch.cat([found, torch.arange(blocks * _BLOCK, rows)])
    return found[torch.randperm(len(found), generator=generator_for(seed, "epoch", epoch, first))]

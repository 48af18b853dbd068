"""Work on many rows where memory may be too small for all at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch

__all__ = ["in_parts", "out_of_memory"]

T = TypeVar("T")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of a GPU or of the machine."""
    from accelerate.utils.memory import should_reduce_batch_size

    known = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "bad_alloc" in str(error)
    return known or bool(should_reduce_batch_size(error))


def in_parts(work: Callable[[slice], T], total: int, most: int) -> list[T]:
    """Give what some work makes of rows 0 to `total`, `most` at once, and half as many where memory is too small.

    Raises:
        RuntimeError, MemoryError: memory is too small for one row, or the work's own.
    """
    found: list[T] = []
    start = 0
    while start < total:
        rows = slice(start, min(total, start + most))
        try:
            found.append(work(rows))
        except (RuntimeError, MemoryError) as error:
            if most == 1 or not out_of_memory(error):
                raise
            most = math.ceil(most / 2)
        else:
            start = rows.stop
    return found

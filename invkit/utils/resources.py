"""Free memory and disk space, and work in batches that fit memory."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import psutil
import torch

from invkit.errors import ArtefactError
from invkit.utils import distributed
from invkit.utils.progress import format_bytes

__all__ = ["check_disk_space", "free_memory", "in_batches", "is_out_of_memory", "memory_budget", "rows_in_memory"]

T = TypeVar("T")

_SHARE = 0.5  # of the free memory
_AT_ONCE = 2**28  # bytes of representations in memory beside a batch
_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def free_memory() -> int:
    """Return the free memory in bytes, of the machine or of the container or job if it is limited.

    Limits are those of Linux control groups v2 (Docker, Kubernetes, SLURM, systemd).
    """
    free = [int(psutil.virtual_memory().available)]
    with suppress(OSError):
        own = next((line[3:] for line in _OWN.read_text().splitlines() if line.startswith("0::/")), "/")
        group = _GROUPS / own.lstrip("/")
        free += [left for g in (group, *group.parents) if g.is_relative_to(_GROUPS) for left in _left_of(g)]
    return max(0, min(free))


def _left_of(group: Path) -> list[int]:
    """Return the free bytes of a control group, if it has a limit; inactive file cache counts as free."""
    with suppress(OSError, ValueError):
        limit, used = int((group / "memory.max").read_text()), int((group / "memory.current").read_text())
        cached = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return [limit - used + int(cached.get("inactive_file", 0))]
    return []


def memory_budget() -> int:
    """Return the bytes that this process may hold: half of the free memory, divided among the machine's processes."""
    return int(_SHARE * free_memory()) // distributed.local_world_size()


def rows_in_memory(most: int, shape: Sequence[int], least: int = 64) -> int:
    """Return the number of float32 representations to hold in memory at once: fewer if they are large.

    Args:
        most: upper limit.
        shape: of one representation.
        least: lower limit, whatever their size.

    Example:
        >>> from invkit.utils.resources import rows_in_memory
        >>> rows_in_memory(4096, (512,)), rows_in_memory(4096, (256, 56, 56))
        (4096, 83)
    """
    return min(most, max(least, _AT_ONCE // (4 * math.prod(shape))))


def check_disk_space(size: int, folder: Path | None, what: str) -> None:
    """Raise an error if the disk has too little free space.

    Args:
        size: bytes needed.
        folder: to be written to; None for temporary files.
        what: is written, for the message.

    Raises:
        ArtefactError: fewer bytes are free.
    """
    place = Path(tempfile.gettempdir()) if folder is None else folder.absolute()
    there = next(parent for parent in (place, *place.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        raise ArtefactError(
            f"Too little disk space for the {what}",
            expected=f"{format_bytes(size)} free in {there}",
            got=format_bytes(free),
            hint="Use fewer or smaller ones at once, or another folder: `cache`, or TMPDIR for temporary files.",
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the memory of a GPU or of the machine ran out."""
    from accelerate.utils.memory import should_reduce_batch_size

    known = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "bad_alloc" in str(error)
    return known or bool(should_reduce_batch_size(error))


def in_batches(work: Callable[[slice], T], total: int, most: int) -> list[T]:
    """Process rows 0 to `total` in batches, which are halved if memory runs out.

    Args:
        work: processes a slice of rows.
        total: number of rows.
        most: rows of a batch.

    Returns:
        the results of all batches, in order.

    Raises:
        RuntimeError, MemoryError: memory is too small for one row, or an error of `work`.

    Example:
        >>> from invkit.utils.resources import in_batches
        >>> in_batches(lambda rows: rows.stop - rows.start, 10, 4)
        [4, 4, 2]
    """
    found: list[T] = []
    start = 0
    while start < total:
        rows = slice(start, min(total, start + most))
        try:
            found.append(work(rows))
        except (RuntimeError, MemoryError) as error:
            if most == 1 or not is_out_of_memory(error):
                raise
            most = math.ceil(most / 2)
        else:
            start = rows.stop
    return found

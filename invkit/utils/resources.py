"""Free memory and disk space, and work in batches that memory has room for."""

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

_SHARE = 0.5  # of the free memory that a run may take for what it keeps
_AT_ONCE = 2**28  # bytes of representations that are held at once beside a batch
_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def free_memory() -> int:
    """Return the bytes that are free on this machine, and within the limits of the container or job that we run in.

    Limits are those of Linux's control groups, version 2 (Docker, Kubernetes, SLURM, systemd).
    """
    free = [int(psutil.virtual_memory().available)]
    with suppress(OSError):
        own = next((line[3:] for line in _OWN.read_text().splitlines() if line.startswith("0::/")), "/")
        group = _GROUPS / own.lstrip("/")
        free += [left for g in (group, *group.parents) if g.is_relative_to(_GROUPS) for left in _left_of(g)]
    return max(0, min(free))


def _left_of(group: Path) -> list[int]:
    """Return what a control group's limit leaves, if it has one; files that the system only caches do not count."""
    with suppress(OSError, ValueError):
        limit, used = int((group / "memory.max").read_text()), int((group / "memory.current").read_text())
        cached = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return [limit - used + int(cached.get("inactive_file", 0))]
    return []


def memory_budget() -> int:
    """Return the bytes that each process of a run may keep: those on one machine together half of the free memory."""
    return int(_SHARE * free_memory()) // distributed.local_world_size()


def rows_in_memory(most: int, shape: Sequence[int], least: int = 64) -> int:
    """Return of how many images the float32 representations are held at once: fewer where they are large.

    Args:
        most: images.
        shape: of one image's representation.
        least: images, whatever they take.
    """
    return min(most, max(least, _AT_ONCE // (4 * math.prod(shape))))


def check_disk_space(size: int, folder: Path | None, what: str) -> None:
    """Refuse to begin what the disk has no room for.

    Args:
        size: bytes.
        folder: where they are to go; None for temporary files.
        what: they are.

    Raises:
        ArtefactError: fewer bytes are free.
    """
    place = Path(tempfile.gettempdir()) if folder is None else folder.absolute()
    there = next(parent for parent in (place, *place.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        raise ArtefactError(
            f"Too little room for the {what}",
            expected=f"{format_bytes(size)} free in {there}",
            got=format_bytes(free),
            hint="Take fewer or smaller ones at once, or another folder: `cache`, or TMPDIR for temporary files.",
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of a GPU or of the machine."""
    from accelerate.utils.memory import should_reduce_batch_size

    known = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "bad_alloc" in str(error)
    return known or bool(should_reduce_batch_size(error))


def in_batches(work: Callable[[slice], T], total: int, most: int) -> list[T]:
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
            if most == 1 or not is_out_of_memory(error):
                raise
            most = math.ceil(most / 2)
        else:
            start = rows.stop
    return found

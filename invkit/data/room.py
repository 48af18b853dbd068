"""How much memory and disk there is for what a run keeps."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from invkit import processes
from invkit.errors import ArtefactError
from invkit.progress import spelt_bytes

__all__ = ["check_room", "free_memory", "memory_to_keep", "rows_that_fit"]

_SHARE = 0.5  # of the free memory that a run may take for what it keeps
_AT_ONCE = 2**28  # bytes of representations that are held at once beside a batch
_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def free_memory() -> int:
    """Give the bytes that are free on this machine, and within the limits of the container or job that we run in.

    Limits are those of Linux's control groups, version 2 (Docker, Kubernetes, SLURM, systemd).
    """
    free = [int(psutil.virtual_memory().available)]
    with suppress(OSError):
        own = next((line[3:] for line in _OWN.read_text().splitlines() if line.startswith("0::/")), "/")
        group = _GROUPS / own.lstrip("/")
        free += [left for g in (group, *group.parents) if g.is_relative_to(_GROUPS) for left in _left_of(g)]
    return max(0, min(free))


def _left_of(group: Path) -> list[int]:
    """Give what a control group's limit leaves, if it has one; files that the system only caches do not count."""
    with suppress(OSError, ValueError):
        limit, used = int((group / "memory.max").read_text()), int((group / "memory.current").read_text())
        cached = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return [limit - used + int(cached.get("inactive_file", 0))]
    return []


def memory_to_keep() -> int:
    """Give the bytes that each process of a run may keep: those on one machine together half of the free memory."""
    return int(_SHARE * free_memory()) // processes.count_here()


def rows_that_fit(most: int, shape: Sequence[int], least: int = 64) -> int:
    """Give of how many images the float32 representations are held at once: fewer where they are large.

    Args:
        most: images.
        shape: of one image's representation.
        least: images, whatever they take.
    """
    return min(most, max(least, _AT_ONCE // (4 * math.prod(shape))))


def check_room(size: int, folder: Path | None, what: str) -> None:
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
            expected=f"{spelt_bytes(size)} free in {there}",
            got=spelt_bytes(free),
            hint="Take fewer or smaller ones at once, or another folder: `cache`, or TMPDIR for temporary files.",
        )

"""Images in a temporary file, where memory is too small for them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO

import numpy as np
import torch
from torch import Tensor

from invkit.data.room import check_room, memory_to_keep
from invkit.errors import ArtefactError

__all__ = ["Stored", "gathered"]


@dataclass(frozen=True)
class Stored:
    """Stands in for the pixels of an :class:`ImageSet`: read whenever they are asked for.

    Attributes:
        file: all images of the file, (M, 3, S, S), mapped: the system keeps in memory what there is room for. It is
            gone with the last set that reads it.
        rows: those of this set, (N,).
    """

    file: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Tensor | slice) -> Stored:
        return Stored(self.file, self.rows[rows])

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, 3, S, S)."""
        return len(self), *self.file.shape[1:]

    @property
    def dtype(self) -> torch.dtype:
        """Of the images."""
        return self.file.dtype

    def parts(self, size: int) -> Iterator[Tensor]:
        """Give them part by part."""
        return (self[k : k + size].read() for k in range(0, len(self), size))

    def read(self) -> Tensor:
        """Give them, (N, 3, S, S)."""
        return self.file[self.rows]


def gathered(parts: Iterable[Tensor], total: int = 0) -> Tensor | Stored:
    """Put images together: in memory, or in a temporary file where they would take more than a quarter of what is free.

    Args:
        parts: (B, 3, S, S) each, all of one size and type.
        total: how many images there will be at most; 0 where that is not known.

    Raises:
        ArtefactError: there are too many for memory, and the disk has too little room for them.
    """
    most = memory_to_keep() // 2  # for putting them together takes them twice
    held: list[Tensor] = []
    count = 0
    with ExitStack() as stack:
        file: IO[bytes] | None = None
        for part in parts:
            held.append(part)
            count += len(part)
            size = max(count, total) * part[0].nbytes
            if file is None and size > most:
                check_room(size, None, "images")
                file = stack.enter_context(tempfile.TemporaryFile(prefix="invkit-"))
            if file is not None:
                _write(file, held)
                held = [part[:0]]
        if file is None:
            return torch.cat(held) if held else torch.empty(0, 3, 1, 1)
        shape, dtype = (count, *held[0].shape[1:]), held[0].numpy().dtype
        mapped = np.memmap(file, dtype, "c", shape=shape)  # "c": what anybody writes to it does not reach the file
    return Stored(torch.from_numpy(mapped), torch.arange(count))


def _write(file: IO[bytes], held: Iterable[Tensor]) -> None:
    try:
        for part in held:
            file.write(part.contiguous().numpy().data)
        file.flush()
    except OSError as error:
        raise ArtefactError(
            "Cannot keep the images in a temporary file",
            expected=f"room in {tempfile.gettempdir()}",
            got=error.strerror or str(error),
            hint="Free some space, set TMPDIR to a folder with more, or take fewer or smaller images.",
        ) from error

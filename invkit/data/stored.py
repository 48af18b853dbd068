"""Images in a temporary file, where memory is too small for them."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from invkit.errors import ArtefactError, DataError
from invkit.utils import distributed
from invkit.utils.resources import check_disk_space, memory_budget

__all__ = ["StoredImages", "concatenate_images", "most_in_memory", "read_only"]


@dataclass(frozen=True)
class StoredImages:
    """Stands in for the pixels of an :class:`ImageSet`: read whenever they are asked for.

    Attributes:
        file: all images of the file, (M, 3, S, S), mapped: the system keeps in memory what there is room for. It is
            gone with the last set that reads it. Or those of a large array, which are not copied. Not to be written to.
        rows: those of this set, (N,).
    """

    file: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Tensor | slice) -> StoredImages:
        return StoredImages(self.file, self.rows[rows])

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, 3, S, S)."""
        return len(self), *self.file.shape[1:]

    @property
    def dtype(self) -> torch.dtype:
        """Of the images."""
        return self.file.dtype

    def parts(self, size: int) -> Iterator[Tensor]:
        """Return them part by part."""
        return (self[k : k + size].read() for k in range(0, len(self), size))

    def read(self) -> Tensor:
        """Return a copy of them, (N, 3, S, S); an array's may lie beyond [0, 1] by what rounding does."""
        found = self.file[self.rows].contiguous()
        return found.clamp_(0, 1) if found.is_floating_point() else found


def most_in_memory() -> int:
    """Return bytes of images that stay in memory: a quarter of what is free, since to put them together takes two."""
    return memory_budget() // 2


def concatenate_images(parts: Iterable[Tensor], total: int = 0) -> Tensor | StoredImages:
    """Put images together: in memory, or in a temporary file where they would take more than a quarter of what is free.

    Args:
        parts: (B, 3, S, S) each, all of one size and type.
        total: how many images there will be at most; 0 where that is not known.

    Raises:
        ArtefactError: there are too many for memory, and the disk has too little room for them.
        DataError: images of several sizes or types.
    """
    most = most_in_memory()
    held: list[Tensor] = []
    count = 0
    with ExitStack() as stack:
        file: IO[bytes] | None = None
        for part in parts:
            if held and _kind(part) != _kind(held[0]):
                raise DataError("Images of several sizes or types", expected=_kind(held[0]), got=_kind(part))
            held.append(part)
            count += len(part)
            size = max(count, total) * part[0].nbytes
            if file is None and size > most:
                check_disk_space(size * distributed.local_world_size(), None, "images")  # each process writes its own
                file = stack.enter_context(tempfile.TemporaryFile(prefix="invkit-"))
            if file is not None:
                _write(file, held)
                held = [part[:0]]
        if file is None:
            return torch.cat(held) if held else torch.empty(0, 3, 1, 1)
        mapped = _mapped(file, held[0].numpy().dtype, (count, *held[0].shape[1:]))
    return StoredImages(mapped, torch.arange(count))


def _kind(part: Tensor) -> str:
    """Say what images can be put together."""
    return f"{'×'.join(map(str, part.shape[1:]))} {str(part.dtype).removeprefix('torch.')}"


def _mapped(file: IO[bytes], dtype: Any, shape: tuple[int, ...]) -> Tensor:
    """Map a file; just to be read, since the system reserves memory for what could be written."""
    return read_only(np.memmap(file, dtype, "r", shape=shape))


def read_only(array: np.ndarray[Any, Any]) -> Tensor:
    """Return a tensor of an array; one that torch cannot see, turned around or of foreign bytes, is copied.

    Torch warns of an array that must not be written to, and nobody will.
    """
    array = array.astype(array.dtype.newbyteorder("="), copy=any(stride < 0 for stride in array.strides))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


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

"""Tensors of N rows that are read by rows: in memory, in a temporary file, in the files of a cache folder."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from io import FileIO
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from invkit.core import Posterior
from invkit.errors import ArtefactError, DataError
from invkit.utils import distributed
from invkit.utils.resources import check_disk_space, memory_budget

__all__ = [
    "Codes",
    "FileRows",
    "Rows",
    "StoredImages",
    "concatenate_images",
    "from_numpy",
    "max_bytes_in_memory",
    "temporary_tensors",
]

_MAX_HEADER = 2**20  # bytes of a safetensors header


class Rows(Protocol):
    """A tensor (N, …) that is read by rows: a Tensor, :class:`StoredImages`, :class:`FileRows` or :class:`Generated`.

    Example:
        >>> import torch
        >>> from invkit.data import Rows
        >>> z: Rows = torch.arange(6.0).view(3, 2)
        >>> z[torch.tensor([2, 0])].tolist()
        [[4.0, 5.0], [0.0, 1.0]]
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, …)."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Tensor | slice, /) -> Tensor: ...


@dataclass(frozen=True)
class Codes:
    """Posteriors of the codes of N images, read by rows as a :class:`Posterior`.

    Attributes:
        mean: (N, D).
        std: (N, D).

    Example:
        >>> import torch
        >>> from invkit.data import Codes
        >>> codes = Codes(torch.zeros(10, 4), torch.ones(10, 4))
        >>> codes[torch.tensor([7, 2])].mean.shape
        torch.Size([2, 4])
    """

    mean: Rows
    std: Rows

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, rows: Tensor | slice) -> Posterior:
        return Posterior(self.mean[rows], self.std[rows])


@dataclass(frozen=True)
class StoredImages:
    """Images that stay in a memory-mapped file or in a user's array until their rows are read.

    Attributes:
        source: all images, (M, 3, S, S). A temporary file is removed with the last set that reads it; an array is not
            copied. Never written to.
        rows: (N,), those of this set.

    Example:
        >>> import torch
        >>> from invkit.data import StoredImages
        >>> images = StoredImages(torch.rand(10, 3, 8, 8), torch.tensor([7, 2, 5]))
        >>> images.shape, images.select(slice(2))[:].shape
        ((3, 3, 8, 8), torch.Size([2, 3, 8, 8]))
    """

    source: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, 3, S, S)."""
        return len(self), *self.source.shape[1:]

    @property
    def dtype(self) -> torch.dtype:
        """Type of the images."""
        return self.source.dtype

    def select(self, rows: Tensor | slice) -> StoredImages:
        """Return a subset without reading it."""
        return StoredImages(self.source, self.rows[rows])

    def __getitem__(self, rows: Tensor | slice, /) -> Tensor:
        """Read images into a new tensor, (B, 3, S, S); rounding errors of floats beyond [0, 1] are clamped."""
        images = self.source[self.rows[rows]].contiguous()
        return images.clamp_(0, 1) if images.is_floating_point() else images


class FileRows:
    """A float32 tensor in safetensors files of `rows_per_file` rows each; only the rows asked for are read.

    The files are not memory-mapped: mapped pages count as memory in use, and a process is killed if a mapped file is
    truncated.

    Args:
        name: key of the tensor in each file.
        shape: (N, …).
        rows_per_file: number of rows of each file but the last.
        path: returns the path of a file by number.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import torch
        >>> from invkit.data import FileRows
        >>> from invkit.utils.io import write_tensors
        >>> folder = Path(tempfile.mkdtemp())
        >>> for number, part in enumerate(torch.arange(10.0).view(5, 2).split(2)):
        ...     write_tensors(folder / str(number), {"z": part})
        >>> FileRows("z", (5, 2), 2, lambda number: folder / str(number))[1:4].tolist()
        [[2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]
    """

    def __init__(self, name: str, shape: tuple[int, ...], rows_per_file: int, path: Callable[[int], Path]) -> None:
        self.shape = shape
        self._name, self._rows_per_file, self._path = name, rows_per_file, path

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Tensor | slice, /) -> Tensor:
        """Read rows, (B, …).

        Raises:
            ArtefactError: a file is missing, truncated, or does not hold the tensor.
        """
        rows = torch.arange(len(self))[rows]
        out = torch.empty(len(rows), *self.shape[1:])
        if out.numel() == 0:
            return out
        size, content = out[0].nbytes, out.view(-1).numpy().data.cast("B")
        for number, runs in groupby(_contiguous_runs(rows, self._rows_per_file), key=itemgetter(0)):
            path = self._path(number)
            try:
                with open(path, "rb", buffering=0) as file:
                    start = self._data_offset(file, number)
                    for _, row, position, count in runs:
                        file.seek(start + row * size)
                        _read_into(file, content[position * size : (position + count) * size])
            except (OSError, ValueError, LookupError, TypeError) as error:
                raise ArtefactError(
                    f"Cannot read {path}",
                    got=error.strerror if isinstance(error, OSError) else f"a damaged file ({error})",
                    hint="Run the same again: missing files are recomputed.",
                ) from error
        return out

    def _data_offset(self, file: FileIO, number: int) -> int:
        """Return the position of the tensor's first byte, from the file's header."""
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= _MAX_HEADER:
            raise ValueError("no header")
        entry = json.loads(file.read(length))[self._name]
        shape = [min(self._rows_per_file, len(self) - number * self._rows_per_file), *self.shape[1:]]
        if entry["dtype"] != "F32" or entry["shape"] != shape:
            raise ValueError(f"{entry} instead of F32 {shape}")
        return 8 + length + int(entry["data_offsets"][0])


def _contiguous_runs(rows: Tensor, rows_per_file: int) -> Iterable[tuple[int, ...]]:
    """Return runs of consecutive rows, sorted by file: (file, first row in it, position in the output, length)."""
    positions = rows.argsort(stable=True)
    rows = rows[positions]
    files = rows // rows_per_file
    breaks = (files.diff() != 0) | (rows.diff() != 1) | (positions.diff() != 1)
    first = torch.cat([torch.zeros(1, dtype=torch.long), breaks.nonzero().flatten() + 1])
    lengths = torch.cat([first, torch.tensor([len(rows)])]).diff()
    runs = files[first], rows[first] % rows_per_file, positions[first], lengths
    return zip(*(values.tolist() for values in runs), strict=True)


def _read_into(file: FileIO, content: memoryview) -> None:
    """Fill a buffer from a file."""
    while len(content):
        count = file.readinto(content)
        if not count:
            raise ValueError("it is truncated")
        content = content[count:]


def temporary_tensors(shapes: Mapping[str, tuple[int, ...]], *, shared: bool) -> dict[str, Tensor]:
    """Return float32 tensors in one unlinked temporary file.

    The space is allocated at once, so that a disk that fills up later does no harm. The file is removed with the
    tensors, also after a kill.

    Args:
        shapes: by name.
        shared: whether all processes of the run, on one machine, write and read one file; else each has its own.

    Raises:
        ArtefactError: the disk is full.
    """
    sizes = [4 * int(np.prod(shape)) for shape in shapes.values()]
    with ExitStack() as stack:
        name = ""
        if distributed.is_main() or not shared:
            file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="invkit-"))
            name = file.name
            try:
                allocate = getattr(os, "posix_fallocate", lambda descriptor, _, size: os.ftruncate(descriptor, size))
                allocate(file.fileno(), 0, max(1, sum(sizes)))
            except OSError as error:
                raise _disk_error("latents", error) from error
        name = distributed.broadcast(name) if shared else name
        offsets = np.cumsum([0, *sizes]).tolist()
        tensors = {
            key: _mapped(name, np.float32, shape, mode="r+", offset=offset)
            for (key, shape), offset in zip(shapes.items(), offsets, strict=False)
        }
        if shared:
            distributed.barrier()  # the main process removes the name once all have opened the file
    return tensors


def max_bytes_in_memory() -> int:
    """Return the size up to which images stay in memory: a quarter of free memory, since concatenation takes two."""
    return memory_budget() // 2


def concatenate_images(batches: Iterable[Tensor], total: int = 0) -> Tensor | StoredImages:
    """Concatenate images: in memory, or in an unlinked temporary file if they exceed a quarter of free memory.

    Args:
        batches: (B, 3, S, S) each, all of one size and type.
        total: upper limit of the number of images; 0 if unknown.

    Raises:
        ArtefactError: the images fit neither memory nor disk.
        DataError: images of several sizes or types.

    Example:
        >>> import torch
        >>> from invkit.data import concatenate_images
        >>> concatenate_images([torch.rand(2, 3, 8, 8), torch.rand(1, 3, 8, 8)]).shape
        torch.Size([3, 3, 8, 8])
    """
    limit = max_bytes_in_memory()
    held: list[Tensor] = []
    count = 0
    with ExitStack() as stack:
        file: IO[bytes] | None = None
        for batch in batches:
            if held and _describe(batch) != _describe(held[0]):
                raise DataError("Images of several sizes or types", expected=_describe(held[0]), got=_describe(batch))
            held.append(batch)
            count += len(batch)
            size = max(count, total) * batch[0].nbytes
            if file is None and size > limit:
                check_disk_space(size * distributed.local_world_size(), None, "images")  # each process writes a file
                file = stack.enter_context(tempfile.TemporaryFile(prefix="invkit-"))
            if file is not None:
                _write(file, held)
                held = [batch[:0]]
        if file is None:
            return torch.cat(held) if held else torch.empty(0, 3, 1, 1)
        mapped = _mapped(file, held[0].numpy().dtype, (count, *held[0].shape[1:]))
    return StoredImages(mapped, torch.arange(count))


def _describe(batch: Tensor) -> str:
    """Return the size and type of images, for instance ``3×28×28 uint8``."""
    return f"{'×'.join(map(str, batch.shape[1:]))} {str(batch.dtype).removeprefix('torch.')}"


def _write(file: IO[bytes], batches: Iterable[Tensor]) -> None:
    try:
        for batch in batches:
            file.write(batch.contiguous().numpy().data)
        file.flush()
    except OSError as error:
        raise _disk_error("images", error) from error


def _disk_error(what: str, error: OSError) -> ArtefactError:
    return ArtefactError(
        f"Cannot write the {what} to a temporary file",
        expected=f"free space in {tempfile.gettempdir()}",
        got=error.strerror or str(error),
        hint=f"Free some space, set TMPDIR to a folder with more, or use fewer or smaller {what}.",
    )


def _mapped(file: IO[bytes] | str, dtype: Any, shape: tuple[int, ...], *, mode: Any = "r", offset: int = 0) -> Tensor:
    """Memory-map a file; it may exceed memory and swap, since for such a mapping the system reserves nothing."""
    return from_numpy(np.memmap(file, dtype, mode, offset, shape))


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """Return a tensor that shares an array's memory; reversed or foreign-endian arrays are copied.

    Torch's warning about read-only arrays is suppressed: the tensor is never written to.
    """
    array = array.astype(array.dtype.newbyteorder("="), copy=any(stride < 0 for stride in array.strides))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)

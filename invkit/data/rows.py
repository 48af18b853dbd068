"""One tensor of all images, in memory or in files: both are read by rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from invkit.core import Posterior
from invkit.errors import ArtefactError

__all__ = ["Codes", "FileRows", "Rows"]

_HEADER = 2**20  # bytes that the header of a file may take


class Rows(Protocol):
    """A tensor (N, …) that gives rows of itself: a `Tensor`, or :class:`FileRows`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, …)."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Tensor | slice, /) -> Tensor: ...


class FileRows:
    """A tensor in safetensors files of `per_file` rows each, of which the rows that are asked for are read.

    The files are not memory-mapped: what is mapped counts as memory in use, and a process dies where a mapped file is
    cut short.

    Args:
        name: of the tensor in each file, float32.
        shape: (N, …).
        per_file: rows of a file; the last may have fewer.
        path: gives the file of a number.
    """

    def __init__(self, name: str, shape: tuple[int, ...], per_file: int, path: Callable[[int], Path]) -> None:
        self.shape = shape
        self._name, self._per_file, self._path = name, per_file, path

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Tensor | slice, /) -> Tensor:
        """Return rows, (B, …).

        Raises:
            ArtefactError: a file is missing, cut short, or does not hold the tensor.
        """
        if isinstance(rows, slice):
            rows = torch.arange(len(self))[rows]
        out = torch.empty(len(rows), *self.shape[1:])
        if out.numel() == 0:
            return out
        size, content = out[0].nbytes, out.view(-1).numpy().data.cast("B")
        places = rows.argsort(stable=True)
        rows = rows[places]
        files = rows // self._per_file
        breaks = (files.diff() != 0) | (rows.diff() != 1) | (places.diff() != 1)
        first = torch.cat([torch.zeros(1, dtype=torch.long), breaks.nonzero().flatten() + 1])  # of each run of rows
        counts = torch.cat([first, torch.tensor([len(rows)])]).diff()
        runs = zip(*(v.tolist() for v in (files[first], rows[first], places[first], counts)), strict=True)
        for number, own in groupby(runs, key=itemgetter(0)):
            path = self._path(number)
            try:
                with open(path, "rb", buffering=0) as file:
                    start = self._start(file, number)
                    for _, row, place, count in own:
                        file.seek(start + (row - number * self._per_file) * size)
                        _read_into(file, content[place * size : (place + count) * size])
            except (OSError, ValueError, LookupError, TypeError) as error:
                raise ArtefactError(
                    f"Cannot read {path}",
                    got=error.strerror if isinstance(error, OSError) else f"a damaged file ({error})",
                    hint="Run the same again: what is missing is made anew.",
                ) from error
        return out

    def _start(self, file: FileIO, number: int) -> int:
        """Return the place of the tensor's first byte, by the file's header."""
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= _HEADER:
            raise ValueError("no header")
        about = json.loads(file.read(length))[self._name]
        shape = [min(self._per_file, len(self) - number * self._per_file), *self.shape[1:]]
        if about["dtype"] != "F32" or about["shape"] != shape:
            raise ValueError(f"{about} instead of F32 {shape}")
        return 8 + length + int(about["data_offsets"][0])


def _read_into(file: FileIO, content: memoryview) -> None:
    """Read just as many bytes as there is room for."""
    while len(content):
        count = file.readinto(content)
        if not count:
            raise ValueError("it is cut short")
        content = content[count:]


@dataclass(frozen=True)
class Codes:
    """The posteriors of the codes of N images, from which rows are taken as a :class:`Posterior`.

    Attributes:
        mean: (N, D).
        std: (N, D).
    """

    mean: Rows
    std: Rows

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, rows: Tensor | slice) -> Posterior:
        return Posterior(self.mean[rows], self.std[rows])

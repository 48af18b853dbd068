"""One tensor of all images, in memory or in files: both are read by rows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from invkit.core import Posterior
from invkit.errors import ArtefactError

__all__ = ["Codes", "FileRows", "Rows"]

_MAPPED = 128 * 2**20  # bytes of files that one tensor keeps mapped, since what is mapped counts as memory in use


class Rows(Protocol):
    """A tensor (N, …) that gives rows of itself: a `Tensor`, or :class:`FileRows`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, …)."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Tensor | slice, /) -> Tensor: ...


class FileRows:
    """A tensor in safetensors files of `per_file` rows each, memory-mapped, and never whole in memory.

    Args:
        name: of the tensor in each file.
        shape: (N, …).
        per_file: rows of a file; the last may have fewer.
        path: gives the file of a number.
    """

    def __init__(self, name: str, shape: tuple[int, ...], per_file: int, path: Callable[[int], Path]) -> None:
        self.shape = shape
        self._name, self._per_file, self._path = name, per_file, path
        self._mapped: OrderedDict[int, Tensor] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Tensor | slice, /) -> Tensor:
        if isinstance(rows, slice):
            rows = torch.arange(len(self))[rows]
        out = torch.empty(len(rows), *self.shape[1:])
        files = rows // self._per_file
        order = files.argsort(stable=True)
        numbers, counts = files[order].unique_consecutive(return_counts=True)
        for number, places in zip(numbers.tolist(), order.split(counts.tolist()), strict=True):
            out[places] = self._open(number)[rows[places] - number * self._per_file]
        return out

    def _open(self, number: int) -> Tensor:
        """Map a file, or find it mapped; those used least recently are let go."""
        found = self._mapped.pop(number, None)
        if found is None:
            path = self._path(number)
            try:
                with safe_open(path, framework="pt") as file:
                    found = file.get_tensor(self._name)
                expected = (min(self._per_file, len(self) - number * self._per_file), *self.shape[1:])
                if (tuple(found.shape), found.dtype) != (expected, torch.float32):
                    raise ValueError(f"{found.dtype} {tuple(found.shape)} instead of {torch.float32} {expected}")
            except (OSError, ValueError, SafetensorError) as error:
                raise ArtefactError(
                    f"Cannot read {path}", got=str(error), hint="Run the same again: what is missing is made anew."
                ) from error
            self._bytes += found.nbytes
            while self._mapped and self._bytes > _MAPPED:
                self._bytes -= self._mapped.popitem(last=False)[1].nbytes
        self._mapped[number] = found
        return found


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

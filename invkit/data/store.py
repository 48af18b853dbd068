"""Latents of all images, computed once: in memory where they fit, else in files."""

from __future__ import annotations

import math
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from invkit.data.rows import FileRows, Rows
from invkit.errors import ArtefactError
from invkit.utils import distributed
from invkit.utils.cache import ABOUT, read_about
from invkit.utils.io import clear_partials, file_lock, read_tensors, write_json, write_tensors
from invkit.utils.progress import Progress, log
from invkit.utils.resources import check_disk_space, is_out_of_memory, memory_budget

__all__ = ["LatentStore", "Place", "check_latents_fit", "fill", "latent_stores"]

_PART_ROWS, _PART_BYTES = 1024, 64 * 2**20  # most of one file; so much is computed again after a kill
_SMALL = 2**28  # bytes that each of several processes computes and holds for itself

Shapes = Mapping[str, tuple[int, ...]]
_Compute = Callable[[slice, Sequence[str]], Mapping[str, Mapping[str, Tensor]]]


class LatentStore(ABC):
    """Tensors of N images by name, each (N, …) float32: filled part by part, read by rows.

    Attributes:
        total: N.
        shapes: by name, without the first axis.
        per_part: rows of a part, a power of 2; the last may have fewer.
        missing: numbers of the parts that are to be computed.
        shared: whether each process reads what the others computed; else each computes all.
    """

    shared = True

    def __init__(self, total: int, shapes: Shapes) -> None:
        self.total, self.shapes = total, {name: tuple(shape) for name, shape in shapes.items()}
        most = max(1, _PART_BYTES // max(1, bytes_of(1, shapes)))
        self.per_part = min(_PART_ROWS, 2 ** (most.bit_length() - 1))
        self.missing = set(range(math.ceil(total / self.per_part)))
        self._begun: dict[int, dict[str, Tensor]] = {}

    def rows_of(self, part: int) -> slice:
        """Return the rows of a part."""
        return slice(part * self.per_part, min(self.total, (part + 1) * self.per_part))

    def lacks(self, rows: slice) -> bool:
        """Whether any of the rows is to be computed."""
        return not self.missing.isdisjoint(self._parts(rows))

    def _parts(self, rows: slice) -> range:
        return range(rows.start // self.per_part, math.ceil(rows.stop / self.per_part))

    def put(self, rows: slice, tensors: Mapping[str, Tensor]) -> None:
        """Take some rows; a part is kept once its last row is there, so rows come in order."""
        for part in self.missing.intersection(self._parts(rows)):
            own = self.rows_of(part)
            size, start, stop = own.stop - own.start, max(rows.start, own.start), min(rows.stop, own.stop)
            if part not in self._begun:
                self._begun[part] = {name: torch.empty(size, *shape) for name, shape in self.shapes.items()}
            for name, values in self._begun[part].items():
                values[start - own.start : stop - own.start] = tensors[name][start - rows.start : stop - rows.start]
            if stop == own.stop:
                self._keep(part, self._begun.pop(part))
                self.missing.discard(part)

    @abstractmethod
    def _keep(self, part: int, tensors: Mapping[str, Tensor]) -> None:
        """Keep a part that is complete."""

    @abstractmethod
    def find(self) -> None:
        """Look which parts are there already, whole and unchanged; no other run may write there at the time."""

    @abstractmethod
    def __getitem__(self, name: str) -> Rows:
        """Return a tensor, to be read by rows."""


class _InMemory(LatentStore):
    shared = False

    def __init__(self, total: int, shapes: Shapes) -> None:
        super().__init__(total, shapes)
        self._tensors = {name: torch.empty(total, *shape) for name, shape in shapes.items()}

    def _keep(self, part: int, tensors: Mapping[str, Tensor]) -> None:
        for name, values in tensors.items():
            self._tensors[name][self.rows_of(part)] = values

    def find(self) -> None:
        """Nothing is, but what was computed."""

    def __getitem__(self, name: str) -> Rows:
        return self._tensors[name]


class _OnDisk(LatentStore):
    """A file for each part, written whole or not at all and checked before it is used."""

    def __init__(self, total: int, shapes: Shapes, folder: Path, about: Mapping[str, object] | None = None) -> None:
        super().__init__(total, shapes)
        self.folder, self._about = folder, about

    def _path(self, part: int) -> Path:
        return self.folder / f"{part:06d}.safetensors"

    def _keep(self, part: int, tensors: Mapping[str, Tensor]) -> None:
        write_tensors(self._path(part), tensors)

    def find(self) -> None:
        clear_partials(self.folder, "*")
        if self._about is not None and read_about(self.folder / ABOUT) is None:
            write_json(self.folder / ABOUT, {**self._about, "images": self.total})
        self.missing = {part for part in range(math.ceil(self.total / self.per_part)) if not self._is_whole(part)}

    def _is_whole(self, part: int) -> bool:
        path, rows = self._path(part), self.rows_of(part)
        if not path.exists():
            return False
        expected = {name: ((rows.stop - rows.start, *shape), torch.float32) for name, shape in self.shapes.items()}
        try:
            tensors, _ = read_tensors(path)
            found = {name: (tuple(values.shape), values.dtype) for name, values in tensors.items()} == expected
        except ArtefactError:
            found = False
        if not found:
            log(f"{path} is damaged; it is made again")
        return found

    def __getitem__(self, name: str) -> Rows:
        return FileRows(name, (self.total, *self.shapes[name]), self.per_part, self._path)


class _Temporary(_OnDisk):
    """Files that go with the last that reads them."""

    def __init__(self, total: int, shapes: Shapes) -> None:
        self._made = tempfile.TemporaryDirectory(prefix="invkit-") if distributed.is_main() else None
        super().__init__(total, shapes, Path(distributed.broadcast(self._made.name if self._made else "")))


class Place(NamedTuple):
    """Where some tensors are to go.

    Attributes:
        shapes: by name, without the first axis.
        folder: named by the caller after all that decides the content; None for memory, or temporary files.
        about: what it holds, for `invkit cache list`.
    """

    shapes: Shapes
    folder: Path | None
    about: Mapping[str, object]


def latent_stores(total: int, places: Mapping[str, Place]) -> dict[str, LatentStore]:
    """Open stores of the same N images: in folders if given, else in memory, or in temporary files where it is short.

    Several processes share temporary files, which all of them must see; what is small each has in its own memory.

    Args:
        total: N.
        places: by name, all with a folder or none.

    Raises:
        ArtefactError: the disk has too little room for all of them.
    """
    size = sum(bytes_of(total, place.shapes) for place in places.values())
    folders = [place.folder for place in places.values() if place.folder is not None]
    if not folders and _fits_memory(size):
        return {name: _InMemory(total, place.shapes) for name, place in places.items()}
    there = sum(file.stat().st_size for folder in folders for file in folder.glob("*.safetensors"))
    check_disk_space(size - there, folders[0] if folders else None, "latents")
    return {
        name: _Temporary(total, shapes) if folder is None else _OnDisk(total, shapes, folder, about)
        for name, (shapes, folder, about) in places.items()
    }


def bytes_of(total: int, shapes: Shapes) -> int:
    """Return what tensors of so many images take."""
    return 4 * total * sum(math.prod(shape) for shape in shapes.values())


def check_latents_fit(size: int, folder: Path | None) -> None:
    """Refuse, before any long work, latents for which there will be no room: in a folder, or in memory or on disk.

    Raises:
        ArtefactError: too little room for so many bytes.
    """
    there = 0 if folder is None else sum(f.stat().st_size for f in folder.glob("representations-*/**/*.safetensors"))
    if folder is not None or not _fits_memory(size):
        check_disk_space(size - there, folder, "latents")


def _fits_memory(size: int) -> bool:
    """Whether so many bytes stay in memory; several processes come to one answer without asking each other."""
    return size <= (memory_budget() if distributed.world_size() == 1 else _SMALL)


def fill(
    stores: Mapping[str, LatentStore],
    compute: _Compute,
    *,
    title: str,
    lock: Path | None = None,
    batch: int = 128,
) -> None:
    """Compute what is missing in stores of the same images, in one pass over these.

    Several processes of one run (`torchrun`) share the images, unless each fills its own memory; of several runs on one
    folder one works, others wait. A batch for which memory is too small is halved.

    Args:
        stores: by name.
        compute: gives, for a slice of the images and the names of stores, the tensors of each.
        title: shown with the progress.
        lock: folder of all stores.
        batch: images at once.

    Raises:
        ArtefactError: the disk is full; what was written before stays.
    """
    total, unit = max(s.total for s in stores.values()), max(s.per_part for s in stores.values())
    shared = all(store.shared for store in stores.values())
    with file_lock(lock):
        for store in stores.values() if shared else ():
            if distributed.is_main():
                store.find()
            store.missing = distributed.broadcast(store.missing)
        units = [slice(start, min(total, start + unit)) for start in range(0, total, unit)]
        units = [rows for rows in units if any(store.lacks(rows) for store in stores.values())]
        mine = units[distributed.rank() :: distributed.world_size()] if shared else units
        bar = Progress(title, sum(rows.stop - rows.start for rows in mine), show=bool(mine))
        for rows in mine:
            batch = _fill_rows(stores, compute, rows, batch, bar)
        bar.close()
        if shared:
            distributed.barrier()


def _fill_rows(stores: Mapping[str, LatentStore], compute: _Compute, rows: slice, batch: int, bar: Progress) -> int:
    """Compute what is missing of some rows; give how many images at once memory had room for."""
    start = rows.start
    while start < rows.stop:
        part = slice(start, min(rows.stop, start + batch))
        wanted = [name for name, store in stores.items() if store.lacks(part)]
        try:
            found = compute(part, wanted) if wanted else {}
        except (RuntimeError, MemoryError) as error:
            if batch == 1 or not is_out_of_memory(error):
                raise
            batch //= 2
            log(f"{bar.title}: too little memory, going on with {batch} images at once")
            continue
        for name in wanted:
            stores[name].put(part, found[name])
        bar.advance(part.stop - part.start)
        start = part.stop
    return batch

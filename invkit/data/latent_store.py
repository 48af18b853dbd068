"""Latents of all images, computed once, part by part: in memory, in a temporary file, or in a cache folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from invkit.data.storage import FileRows, Rows, temporary_tensors
from invkit.errors import ArtefactError
from invkit.utils import distributed
from invkit.utils.cache import ABOUT, read_about
from invkit.utils.io import clear_partials, file_lock, read_tensors, write_json, write_tensors
from invkit.utils.progress import Progress, log
from invkit.utils.resources import check_disk_space, is_out_of_memory, memory_budget

__all__ = ["LatentSpec", "LatentStore", "check_latents_fit", "fill_stores", "open_stores"]

_PART_ROWS, _PART_BYTES = 1024, 64 * 2**20  # upper limits of one part: at most this is lost in a kill
_SMALL = 2**28  # bytes; smaller latents each of several processes computes for itself

Shapes = Mapping[str, tuple[int, ...]]
Compute = Callable[[slice, Sequence[str]], Mapping[str, Mapping[str, Tensor]]]


class LatentSpec(NamedTuple):
    """Latents to be stored.

    Attributes:
        shapes: shape of each tensor by name, without the first axis.
        folder: named by the caller after all that decides the content; None for memory or a temporary file.
        about: description for `invkit cache list`.
    """

    shapes: Shapes
    folder: Path | None = None
    about: Mapping[str, object] = {}


class LatentStore:
    """Float32 tensors of N images by name, each (N, …), written part by part and read by rows.

    A part in a folder is a safetensors file, written atomically and verified before use.

    Args:
        total: N.
        spec: of the latents.
        in_memory: hold them in memory; else in a temporary file, if there is no folder.

    Attributes:
        rows_per_part: a power of 2; the last part may be shorter.
        missing: numbers of the parts that are not computed yet.
        shared: whether processes read each other's parts; if not, each computes all.
    """

    def __init__(self, total: int, spec: LatentSpec, *, in_memory: bool = False) -> None:
        self.total, (self.shapes, self.folder, self._about) = total, spec
        most = max(1, _PART_BYTES // max(1, _bytes_of(1, self.shapes)))
        self.rows_per_part = min(_PART_ROWS, 2 ** (most.bit_length() - 1))
        self._parts = range(math.ceil(total / self.rows_per_part))
        self.missing = set(self._parts)
        self.shared = self.folder is not None or (not in_memory and _on_one_machine())
        self._begun: dict[int, Mapping[str, Tensor]] = {}
        self._tensors: Mapping[str, Tensor] = {}
        if self.folder is None:
            whole = self._shapes(total)
            self._tensors = (
                {name: torch.empty(shape) for name, shape in whole.items()}
                if in_memory
                else temporary_tensors(whole, shared=self.shared)
            )

    def _shapes(self, rows: int) -> dict[str, tuple[int, ...]]:
        return {name: (rows, *shape) for name, shape in self.shapes.items()}

    def _rows_of(self, part: int) -> slice:
        return slice(part * self.rows_per_part, min(self.total, (part + 1) * self.rows_per_part))

    def missing_in(self, rows: slice) -> set[int]:
        """Return the missing parts that overlap some rows."""
        return self.missing.intersection(
            range(rows.start // self.rows_per_part, math.ceil(rows.stop / self.rows_per_part))
        )

    def put(self, rows: slice, tensors: Mapping[str, Tensor]) -> None:
        """Store some rows, in order; a part is complete when its last row is stored."""
        for part in self.missing_in(rows):
            own = self._rows_of(part)
            start, stop = max(rows.start, own.start), min(rows.stop, own.stop)
            if part not in self._begun:
                shapes, held = self._shapes(own.stop - own.start), self._tensors
                self._begun[part] = {k: held[k][own] if k in held else torch.empty(v) for k, v in shapes.items()}
            for name, values in self._begun[part].items():
                values[start - own.start : stop - own.start] = tensors[name][start - rows.start : stop - rows.start]
            if stop == own.stop:
                done = self._begun.pop(part)
                if self.folder is not None:
                    write_tensors(_path(self.folder, part), done)
                self.missing.discard(part)

    def find(self) -> None:
        """Find the parts in the folder that are complete and intact; call it while no other run writes them."""
        if self.folder is None:
            return
        clear_partials(self.folder, "*")
        if read_about(self.folder / ABOUT) is None:
            write_json(self.folder / ABOUT, {**self._about, "images": self.total})
        self.missing = {part for part in self._parts if not self._is_intact(_path(self.folder, part), part)}

    def _is_intact(self, path: Path, part: int) -> bool:
        if not path.exists():
            return False
        rows = self._rows_of(part)
        expected = {name: (shape, torch.float32) for name, shape in self._shapes(rows.stop - rows.start).items()}
        try:
            tensors, _ = read_tensors(path)
            intact = {name: (tuple(values.shape), values.dtype) for name, values in tensors.items()} == expected
        except ArtefactError:
            intact = False
        if not intact:
            log(f"{path} is damaged and is recomputed")
        return intact

    def __getitem__(self, name: str) -> Rows:
        """Return a tensor, to be read by rows."""
        if self.folder is None:
            return self._tensors[name]
        return FileRows(name, self._shapes(self.total)[name], self.rows_per_part, partial(_path, self.folder))


def _path(folder: Path, part: int) -> Path:
    return folder / f"{part:06d}.safetensors"


def open_stores(total: int, specs: Mapping[str, LatentSpec]) -> dict[str, LatentStore]:
    """Open stores of the same N images: in folders if given, else in memory, or in temporary files if too large.

    The processes of a run on one machine share temporary files; on several machines each process has its own, as it
    has of small latents in memory.

    Args:
        total: N.
        specs: by name, all with a folder or none.

    Raises:
        ArtefactError: too little disk space for all of them.
    """
    size = sum(_bytes_of(total, spec.shapes) for spec in specs.values())
    folders = [spec.folder for spec in specs.values() if spec.folder is not None]
    in_memory = not folders and _fits_memory(size)
    if folders:
        check_disk_space(size - _bytes_in(folders), folders[0], "latents")
    elif not in_memory:
        check_disk_space(size * (1 if _on_one_machine() else distributed.local_world_size()), None, "latents")
    return {name: LatentStore(total, spec, in_memory=in_memory) for name, spec in specs.items()}


def check_latents_fit(size: int, cache: Path | None) -> None:
    """Check before a run that its representations fit: into memory or a temporary file, or into a cache folder.

    Representations that the cache folder holds already are subtracted, whichever run made them; :func:`open_stores`
    checks again, exactly.

    Args:
        size: bytes of all representations of the run.
        cache: the cache folder, if any.

    Raises:
        ArtefactError: too little disk space.

    Example:
        >>> from invkit.data import check_latents_fit
        >>> check_latents_fit(1000, None)
    """
    if cache is not None:
        size -= _bytes_in(cache.glob("representations-*"))
    if cache is not None or not _fits_memory(size):
        check_disk_space(size, cache, "latents")


def _on_one_machine() -> bool:
    return distributed.world_size() == distributed.local_world_size()


def _bytes_of(total: int, shapes: Shapes) -> int:
    """Return the size of tensors of `total` images."""
    return 4 * total * sum(math.prod(shape) for shape in shapes.values())


def _bytes_in(folders: Iterable[Path]) -> int:
    """Return the size of the parts in some folders and below."""
    return sum(file.stat().st_size for folder in folders for file in folder.rglob("*.safetensors"))


def _fits_memory(size: int) -> bool:
    """Whether latents stay in memory; several processes come to the same answer without asking each other."""
    return size <= (memory_budget() if distributed.world_size() == 1 else _SMALL)


def fill_stores(
    stores: Mapping[str, LatentStore], compute: Compute, *, title: str, lock: Path | None = None, batch: int = 128
) -> None:
    """Compute what is missing in stores of the same images, in one pass over the images.

    The processes of one run (`torchrun`) divide the images among them, unless each fills its own memory. Of several
    runs on one folder one computes, the others wait. The batch is halved if memory runs out.

    Args:
        stores: by name.
        compute: returns, for a slice of the images and names of stores, the tensors of each store.
        title: of the progress bar.
        lock: folder of all stores.
        batch: number of images at once.

    Raises:
        ArtefactError: the disk is full; parts written before are kept.
    """
    total, unit = max(s.total for s in stores.values()), max(s.rows_per_part for s in stores.values())
    shared = all(store.shared for store in stores.values())
    with file_lock(lock):
        for store in stores.values() if shared else ():
            if distributed.is_main():
                store.find()
            store.missing = distributed.broadcast(store.missing)
        units = [slice(start, min(total, start + unit)) for start in range(0, total, unit)]
        units = [rows for rows in units if any(store.missing_in(rows) for store in stores.values())]
        mine = units[distributed.rank() :: distributed.world_size()] if shared else units
        bar = Progress(title, sum(rows.stop - rows.start for rows in mine), show=bool(mine))
        for rows in mine:
            batch = _fill_rows(stores, compute, rows, batch, bar)
        bar.close()
        if shared:
            distributed.barrier()


def _fill_rows(stores: Mapping[str, LatentStore], compute: Compute, rows: slice, batch: int, bar: Progress) -> int:
    """Compute what is missing of some rows; return the batch size that fitted memory."""
    start = rows.start
    while start < rows.stop:
        part = slice(start, min(rows.stop, start + batch))
        wanted = [name for name, store in stores.items() if store.missing_in(part)]
        try:
            latents = compute(part, wanted) if wanted else {}
        except (RuntimeError, MemoryError) as error:
            if batch == 1 or not is_out_of_memory(error):
                raise
            batch //= 2
            log(f"{bar.title}: out of memory, continuing with batches of {batch} images")
            continue
        for name in wanted:
            stores[name].put(part, latents[name])
        bar.advance(part.stop - part.start)
        start = part.stop
    return batch

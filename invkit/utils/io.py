"""Files without code: safetensors and JSON, written atomically, verified by a hash of their content."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from invkit.errors import ArtefactError
from invkit.utils import distributed
from invkit.utils.progress import log

__all__ = [
    "ChunkedTensor",
    "clear_partials",
    "content_hash",
    "file_lock",
    "nan_to_none",
    "read_json",
    "read_tensors",
    "write_bytes",
    "write_json",
    "write_tensors",
]

_CONTENT = "invkit hash"  # header entry: hash of the tensors and of the other metadata


class ChunkedTensor(NamedTuple):
    """A tensor in chunks, which has the hash of the whole tensor.

    Attributes:
        dtype: of the whole.
        shape: of the whole.
        chunks: slices along the first axis, in order.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    chunks: Iterable[Tensor]


def content_hash(*things: Any) -> str:
    """Hash tensors, JSON values, and mappings and lists of both to 16 hexadecimal digits.

    As in JSON, tuples equal lists, and keys are strings.

    Example:
        >>> import torch
        >>> from invkit.utils.io import content_hash
        >>> content_hash({"x": torch.zeros(2)}) == content_hash({"x": torch.zeros(2)})
        True
        >>> content_hash([1, 2]) == content_hash([12])
        False
    """
    digest = hashlib.sha256()
    for thing in things:
        _feed(digest, thing)
    return digest.hexdigest()[:16]


def _feed(digest: Any, thing: Any) -> None:
    """Update the digest by an unambiguous encoding: two different sequences never give the same bytes."""
    if isinstance(thing, Tensor):
        _feed(digest, ChunkedTensor(thing.dtype, tuple(thing.shape), [thing]))
    elif isinstance(thing, ChunkedTensor):
        digest.update(f"{thing.dtype}{tuple(thing.shape)}".encode())
        for chunk in thing.chunks:
            values = chunk.detach().cpu().contiguous().reshape(-1)
            digest.update(values.view(torch.uint8).numpy().data if values.numel() else b"")
    elif isinstance(thing, Mapping):
        digest.update(b"{")
        for key in sorted(thing, key=str):
            _feed(digest, str(key))
            _feed(digest, thing[key])
        digest.update(b"}")
    elif isinstance(thing, list | tuple):
        digest.update(b"[")
        for each in thing:
            _feed(digest, each)
        digest.update(b"]")
    else:
        digest.update(f"{json.dumps(thing, default=str)}\n".encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: a reader sees the old or the new content, even after a crash.

    Raises:
        ArtefactError: the disk is full or the folder not writable; the old file is unchanged.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(partial, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:  # Ctrl-C too
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ArtefactError(
            f"Cannot write {path}",
            expected=f"{len(content):,} bytes of free space in a writable folder",
            got=error.strerror or str(error),
            hint="Free some space or choose another folder; existing files are unchanged.",
        ) from error


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically."""
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def nan_to_none(content: Any) -> Any:
    """Replace NaN and infinity, which JSON lacks, by None.

    Example:
        >>> from invkit.utils.io import nan_to_none
        >>> nan_to_none({"loss": [1.0, float("nan")]})
        {'loss': [1.0, None]}
    """
    if isinstance(content, Mapping):
        return {key: nan_to_none(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [nan_to_none(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors and metadata as safetensors, atomically, with a hash of both in the header."""
    ready = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    about = dict(metadata or {})
    write_bytes(path, save(ready, {**about, _CONTENT: content_hash(ready, about)}))


def clear_partials(folder: Path, name: str) -> None:
    """Remove what killed writers left of files that match a glob pattern; call it while no other run writes them."""
    for partial in folder.glob(f".{name}.*.partial"):
        partial.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        ArtefactError: missing or truncated.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, "a JSON file", error) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and metadata, and verify them by the hash in the header, if any.

    Raises:
        ArtefactError: missing, truncated or changed.
    """
    try:
        content = path.read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        tensors, metadata = load(content), dict(header.get("__metadata__", {}))
        expected = metadata.pop(_CONTENT, None)
        if expected not in (None, known := content_hash(tensors, metadata)):
            raise ValueError(f"content {known} instead of {expected}")
    except (OSError, ValueError, SafetensorError) as error:
        raise _unreadable(path, "a safetensors file", error) from error
    return tensors, metadata


@contextmanager
def file_lock(path: Path | None) -> Iterator[None]:
    """Hold the lock of a file or folder; other runs wait. None locks nothing.

    The lock of a killed run is released. Of several processes of one run (`torchrun`) the main one holds it.

    Raises:
        ArtefactError: the folder is not writable.
    """
    if path is None or not distributed.is_main():
        yield
        return
    locks = path.parent / ".locks"
    lock = FileLock(locks / f"{path.name}.lock")
    try:
        locks.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log(f"Waiting for another run that computes {path.name}")
            lock.acquire()
    except OSError as error:
        raise ArtefactError(
            f"Cannot write {locks}",
            expected="a writable folder",
            got=error.strerror or str(error),
            hint="Free some space or choose another folder.",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _unreadable(path: Path, kind: str, error: Exception) -> ArtefactError:
    return ArtefactError(
        f"Cannot read {path}",
        expected=kind,
        got="no such file" if isinstance(error, FileNotFoundError) else f"a damaged or truncated one ({error})",
        hint="Save it again, or remove the folder to recompute it.",
    )

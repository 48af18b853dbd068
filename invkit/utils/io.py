"""Files that hold no code: safetensors and JSON, written whole or not at all, named by their content."""

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

_CONTENT = "invkit hash"  # of the tensors and of all else in the header of their file, where it stands


class ChunkedTensor(NamedTuple):
    """A tensor that comes in parts, to be hashed as the whole.

    Attributes:
        dtype: of the whole.
        shape: of the whole.
        parts: along the first axis, in order.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    parts: Iterable[Tensor]


def content_hash(*things: Any) -> str:
    """Hash tensors, JSON-able values, and mappings and lists of both to 16 hexadecimal digits.

    As in JSON a tuple is a list, and keys are texts.
    """
    digest = hashlib.sha256()
    for thing in things:
        _feed(digest, thing)
    return digest.hexdigest()[:16]


def _feed(digest: Any, thing: Any) -> None:
    """Write down a thing so that it can be told where it ends: no two rows of things have the same bytes."""
    if isinstance(thing, Tensor):
        _feed(digest, ChunkedTensor(thing.dtype, tuple(thing.shape), [thing]))
    elif isinstance(thing, ChunkedTensor):
        digest.update(f"{thing.dtype}{tuple(thing.shape)}".encode())
        for part in thing.parts:
            values = part.detach().cpu().contiguous().reshape(-1)
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
    """Write a file atomically: a reader sees the old one or the new one, also after a crash.

    Raises:
        ArtefactError: the disk is full or the folder can't be written; the old file is as it was.
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
            expected=f"{len(content):,} bytes of room in a folder that can be written",
            got=error.strerror or str(error),
            hint="Free some space or choose another folder; what was there before is unharmed.",
        ) from error


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically."""
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def nan_to_none(content: Any) -> Any:
    """Return JSON-able content with None for numbers that are not finite, for which JSON has no word."""
    if isinstance(content, Mapping):
        return {key: nan_to_none(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [nan_to_none(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors, atomically, with the hash of all that is in the file in its header."""
    ready = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    about = dict(metadata or {})
    write_bytes(path, save(ready, {**about, _CONTENT: content_hash(ready, about)}))


def clear_partials(folder: Path, name: str) -> None:
    """Remove what writers that died left of files of a name, a glob pattern; call it where no other run writes them."""
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
    """Read tensors and their metadata, checked against the hash in their file where it has one.

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
    """Let one run at a time make the file or folder of that name; others wait. None locks nothing.

    A run that dies lets go. Of several processes of one run (`torchrun`) the main one stands for all.

    Raises:
        ArtefactError: nothing can be written there.
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
            log(f"Waiting for another run that makes {path.name}")
            lock.acquire()
    except OSError as error:
        raise ArtefactError(
            f"Cannot write {locks}",
            expected="a folder that can be written",
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
        hint="Save it again, or remove the folder to have it made anew.",
    )

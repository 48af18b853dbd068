"""Entries of a cache folder: trained parts, latents, explanations, each named by its kind and a hash."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invkit.errors import ArtefactError
from invkit.utils.io import file_lock, read_json, read_tensors

__all__ = ["ABOUT", "Entry", "damaged_files", "entries", "read_about", "remove"]

ABOUT = "about.json"  # description of a folder of latents
_NAME = re.compile(
    r"\.?(?P<of>(?P<kind>[a-z]+)-[0-9a-f]{16})(-\d+)?(?P<suffix>(\.safetensors|\.checkpoint)(\.\d+\.partial)?)?"
)


@dataclass(frozen=True)
class Entry:
    """A file or folder that invkit wrote.

    Attributes:
        path: of the file or folder.
        kind: `autoencoder`, `codes`, `representations`, `t`, `e`, `explanation`, and so on; `checkpoint` for an
            unfinished training, `partial` for what a process left that was killed while it wrote.
        about: its description.
        size: in bytes.
        changed: time of the last change, in seconds since 1970.
    """

    path: Path
    kind: str
    about: str
    size: int
    changed: float


def entries(folder: Path) -> list[Entry]:
    """List what invkit wrote to a cache folder, largest first; other files are ignored.

    Entries that another run removes meanwhile are skipped.

    Raises:
        ArtefactError: no such folder.
    """
    if not folder.is_dir():
        raise ArtefactError("No such cache", expected="a folder that was passed as `cache`", got=folder)
    found = []
    for path in folder.iterdir():
        name = _NAME.fullmatch(path.name)
        if name is not None and path.is_dir() != bool(name["suffix"]):
            kind = {".checkpoint": "checkpoint", ".partial": "partial"}.get(path.suffix, name["kind"])
            stats = _stats(path)
            if not stats and not path.exists():
                continue
            size, changed = sum(s.st_size for s in stats), max((s.st_mtime for s in stats), default=0.0)
            found.append(Entry(path, kind, _about(path), size, changed))
    return sorted(found, key=lambda entry: -entry.size)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [Path(folder, name) for folder, _, names in os.walk(path) for name in sorted(names)]


def _stats(path: Path) -> list[os.stat_result]:
    found = []
    for file in _files(path):
        with suppress(FileNotFoundError):
            found.append(file.stat())
    return found


def read_about(file: Path) -> dict[str, Any] | None:
    """Read the description of a folder of latents; None if it is missing or damaged."""
    with suppress(ArtefactError):
        found = read_json(file)
        if isinstance(found, dict):
            return found
    return None


def _about(path: Path) -> str:
    """Join the descriptions of the folders of an entry."""
    descriptions = []
    for file in sorted(file for file in _files(path) if file.name == ABOUT):
        about = read_about(file) or {"of": "unknown"}
        descriptions.append(f"{about.get('of', '')} of {about.get('images', '?')} images")
    return "; ".join(descriptions)


def damaged_files(entry: Entry) -> Iterator[tuple[Path, str]]:
    """Verify an entry; yield each damaged file, and why."""
    for file in _files(entry.path):
        try:
            if file.suffix == ".json":
                read_json(file)
            elif file.suffix in (".safetensors", ".checkpoint"):
                read_tensors(file)
        except ArtefactError as error:
            if not isinstance(error.__cause__, FileNotFoundError):  # it was removed meanwhile
                yield file, str(error)


def remove(entry: Entry) -> None:
    """Remove an entry; wait while a run uses it."""
    with file_lock(_lock_path(entry.path)):
        if entry.path.is_dir():
            with suppress(FileNotFoundError):
                shutil.rmtree(entry.path)
        else:
            entry.path.unlink(missing_ok=True)


def _lock_path(path: Path) -> Path:
    """Return the path that a run locks while it writes an entry: for all files of one training, that of its weights."""
    name = _NAME.fullmatch(path.name)
    return path.with_name(f"{name['of']}.safetensors") if name is not None and name["suffix"] else path

"""Saving the sections of a page as JSON and PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from invkit.errors import ArtefactError
from invkit.report.html import Picture, Section, Table
from invkit.utils.io import content_hash, write_bytes

__all__ = ["load_sections", "save_sections"]


def save_sections(folder: Path, sections: Sequence[Section]) -> list[dict[str, Any]]:
    """Write the pictures of sections as PNG files; return all else, JSON-able, for :func:`load_sections`.

    Raises:
        ArtefactError: the folder can't be written.

    Example:
        >>> import tempfile
        >>> sections = [Section("Numbers", "Two.", tables=[Table(["a"], [["1"], ["2"]])])]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     load_sections(Path(folder), save_sections(Path(folder), sections))[0].title
        'Numbers'
    """
    return [
        {
            "title": section.title,
            "text": section.text,
            "pictures": [
                {"caption": picture.caption, "hash": _save_png(_file(folder, s, p), picture.png)}
                for p, picture in enumerate(section.pictures)
            ],
            "tables": [{"header": [*t.header], "rows": [[*row] for row in t.rows]} for t in section.tables],
        }
        for s, section in enumerate(sections)
    ]


def load_sections(folder: Path, described: Sequence[dict[str, Any]]) -> list[Section]:
    """Read sections written by :func:`save_sections`.

    Raises:
        ArtefactError: a picture is missing or was changed.
    """
    return [
        Section(
            section["title"],
            section["text"],
            [
                Picture(_load_png(_file(folder, s, p), picture["hash"]), picture["caption"])
                for p, picture in enumerate(section["pictures"])
            ],
            [Table(table["header"], table["rows"]) for table in section["tables"]],
        )
        for s, section in enumerate(described)
    ]


def _file(folder: Path, section: int, picture: int) -> Path:
    return folder / f"{section}-{picture}.png"


def _save_png(file: Path, png: bytes) -> str:
    write_bytes(file, png)
    return content_hash(png.hex())


def _load_png(file: Path, expected: str) -> bytes:
    try:
        png = file.read_bytes()
    except OSError as error:
        raise ArtefactError(
            f"{file} cannot be read", got=error.strerror, hint="Copy or make the folder again."
        ) from error
    if (found := content_hash(png.hex())) != expected:
        raise ArtefactError(
            f"{file} was changed", expected=f"content {expected}", got=found, hint="Copy or make the folder again."
        )
    return png

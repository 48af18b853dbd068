"""The JSON file of a saved folder, which holds its own hash and those of the tensors beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from invkit.errors import ArtefactError
from invkit.utils.io import content_hash, read_json, read_tensors, write_json

__all__ = ["read_checked_tensors", "read_manifest", "write_manifest"]


def write_manifest(file: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with a hash of its content.

    Raises:
        ArtefactError: the file can't be written.
    """
    write_json(file, {**content, "hash": content_hash(content)})


def read_manifest(file: Path, what: str, version: int) -> dict[str, Any]:
    """Read JSON written by :func:`write_manifest`.

    Args:
        file: path of the file.
        what: what the folder holds, for messages: `an explanation`.
        version: the `format` that it must have.

    Raises:
        ArtefactError: missing, damaged, changed, or of another format.
    """
    content = read_json(file)
    if not isinstance(content, dict) or content.get("format") != version:
        raise ArtefactError(
            f"{file.parent} is not {what} that this version of invkit reads",
            expected=f"format {version}",
            got=content.get("format") if isinstance(content, dict) else type(content).__name__,
            hint="Load it with the version that wrote it, or make it again.",
        )
    expected = content.pop("hash", None)
    if expected != (found := content_hash(content)):
        raise ArtefactError(
            f"{file} was changed", expected=f"content {expected}", got=found, hint="Copy it or make it again."
        )
    return content


def read_checked_tensors(file: Path, expected: str) -> dict[str, Tensor]:
    """Read a safetensors file whose content hash a manifest states.

    Raises:
        ArtefactError: missing, damaged, or other content.
    """
    tensors, _ = read_tensors(file)
    if (found := content_hash(tensors)) != expected:
        raise ArtefactError(
            f"{file} does not belong to the manifest beside it",
            expected=f"content {expected}",
            got=found,
            hint="The folder was changed or copied in part; copy or make it again.",
        )
    return tensors

"""One file that holds a training run, written atomically."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from invkit.errors import ArtefactError
from invkit.utils.io import read_tensors, write_tensors

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(path: Path, key: str, tensors: dict[str, Tensor], counters: dict[str, Any]) -> None:
    """Write tensors and counters of a run whose settings hash to `key`."""
    write_tensors(path, tensors, {"key": key, "counters": json.dumps(counters)})


def load_checkpoint(path: Path, key: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`save_checkpoint` wrote.

    Raises:
        ArtefactError: damaged, or of a run with other settings.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("key") != key:
        raise ArtefactError(
            f"The checkpoint {path} belongs to another run",
            expected=f"settings that hash to {key}",
            got=metadata.get("key", "none"),
            hint="Remove it to start anew, or go back to the settings it was made with.",
        )
    return tensors, json.loads(metadata["counters"])

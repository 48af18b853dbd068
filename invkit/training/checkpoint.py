"""The files of a training run: its checkpoint, and the weights once it is complete. Both are written atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from invkit.errors import ArtefactError
from invkit.training.task import FitResult
from invkit.utils import distributed
from invkit.utils.io import clear_partials, read_tensors, write_tensors
from invkit.utils.progress import log

__all__ = ["checkpoint_of", "load_checkpoint", "load_weights", "save_checkpoint", "save_weights"]


def checkpoint_of(path: Path) -> Path:
    """Return the name of the checkpoint of a run whose weights will be written to `path`."""
    return path.with_suffix(".checkpoint")


def save_checkpoint(path: Path, key: str, tensors: dict[str, Tensor], counters: dict[str, Any]) -> None:
    """Write tensors and counters of a run whose settings hash to `key`."""
    write_tensors(path, tensors, {"key": key, "counters": json.dumps(counters)})


def load_checkpoint(path: Path, key: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`save_checkpoint` wrote.

    Raises:
        ArtefactError: the file is damaged, or of a run with other settings.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("key") != key:
        raise ArtefactError(
            f"The checkpoint {path} belongs to another run",
            expected=f"settings that hash to {key}",
            got=metadata.get("key", "none"),
            hint="Remove it to start from the beginning, or use the settings that it was written with.",
        )
    return tensors, json.loads(metadata["counters"])


def save_weights(path: Path, module: nn.Module, result: FitResult) -> None:
    """Write a trained module's weights, and remove its checkpoint."""
    write_tensors(path, module.state_dict(), {"result": json.dumps(asdict(result))})
    checkpoint_of(path).unlink(missing_ok=True)


def load_weights(path: Path, module: nn.Module) -> FitResult | None:
    """Load what :func:`save_weights` wrote into a module, if the file exists; remove damaged files of the run.

    Call it under the lock of `path`.

    Raises:
        ArtefactError: a file cannot be read although it is undamaged, as with too many open files.
    """
    checkpoint, found = checkpoint_of(path), None
    if distributed.is_main():
        for file in (path, checkpoint):
            clear_partials(path.parent, file.name)
        found = _read_undamaged(path, module)
    if not distributed.broadcast(found is not None):
        if distributed.is_main():
            _read_undamaged(checkpoint)
        return None
    weights, metadata = found or read_tensors(path)
    module.load_state_dict(weights)
    if distributed.is_main():
        checkpoint.unlink(missing_ok=True)  # of a run that was killed just before it removed it
    return FitResult.from_dict(json.loads(metadata["result"]))


def _read_undamaged(path: Path, module: nn.Module | None = None) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Read a file if it exists, and fits the module if one is given; remove a damaged one.

    Raises:
        ArtefactError: it cannot be read for another reason, as with too many open files.
    """
    if not path.exists():
        return None
    try:
        weights, metadata = read_tensors(path)
        if module is None or ("result" in metadata and _shapes(weights) == _shapes(module.state_dict())):
            return weights, metadata
    except ArtefactError as error:
        if isinstance(error.__cause__, OSError):
            raise
    log(f"{path} is damaged and is recomputed")
    path.unlink(missing_ok=True)
    return None


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(values.shape) for name, values in tensors.items()}

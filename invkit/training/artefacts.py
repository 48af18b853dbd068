"""Train once: weights are kept under a name made of everything that decides them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from torch import Tensor, nn

from invkit.errors import ArtefactError
from invkit.training.loop import fit
from invkit.training.task import FitResult, FitSettings, Task
from invkit.utils import distributed
from invkit.utils.io import clear_partials, file_lock, read_tensors, write_tensors
from invkit.utils.progress import log

__all__ = ["fit_or_load"]


def fit_or_load(
    task: Task,
    settings: FitSettings,
    *,
    path: Path | None,
    seed: int = 0,
    on_begin: Callable[[], None] | None = None,
    on_evaluate: Callable[[int, nn.Module], None] | None = None,
) -> FitResult:
    """Train the task's module, or load it if the file is there; a run that was cut short is resumed.

    Of several runs with one cache one trains, the others wait and load.

    Args:
        task: what to train.
        settings: how.
        path: file of the weights, named by the caller after all that decides them; None keeps nothing.
        seed: of every draw.
        on_begin: called before training, also one that is resumed, but not where weights are found: makes ready what
            training alone needs.
        on_evaluate: see :func:`fit`.

    Raises:
        ArtefactError: the file can't be written, or is there and can't be read; a damaged one is made again.
        TrainingError: training diverged.
    """
    begin = on_begin or (lambda: None)
    if path is None:
        begin()
        return fit(task, settings, seed=seed, on_evaluate=on_evaluate)
    checkpoint = path.with_suffix(".checkpoint")
    with file_lock(path):
        if distributed.is_main():
            for file in (path, checkpoint):
                clear_partials(path.parent, file.name)
        found = _read_whole(path, task.module) if distributed.is_main() else None
        if distributed.broadcast(found is not None):
            weights, metadata = found or read_tensors(path)
            task.module.load_state_dict(weights)
            task.module.eval()
            if distributed.is_main():
                checkpoint.unlink(missing_ok=True)  # of a run that died just before it did this
            log(f"{task.title}: found, made earlier")
            return FitResult(**json.loads(metadata["result"]))
        if distributed.is_main():
            _read_whole(checkpoint)
        begin()
        result = fit(task, settings, seed=seed, checkpoint=checkpoint, on_evaluate=on_evaluate)
        if result.complete and distributed.is_main():
            write_tensors(path, task.module.state_dict(), {"result": json.dumps(asdict(result))})
            checkpoint.unlink(missing_ok=True)
        distributed.barrier()
    return result


def _read_whole(path: Path, module: nn.Module | None = None) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Read a file if it is there, and is that module's if one is given; a damaged one is removed, to be made again.

    Raises:
        ArtefactError: it cannot be read for a reason that does not lie in it, such as too many open files.
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
    log(f"{path} is damaged; it is made again")
    path.unlink(missing_ok=True)
    return None


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(values.shape) for name, values in tensors.items()}

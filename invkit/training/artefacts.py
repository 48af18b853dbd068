"""Train once: weights are kept under a name made of everything that decides them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from torch import nn

from invkit.progress import say
from invkit.serialize import read_tensors, write_tensors
from invkit.training.loop import FitResult, FitSettings, Task, fit

__all__ = ["fit_or_load"]


def fit_or_load(
    task: Task,
    settings: FitSettings,
    *,
    path: Path | None,
    seed: int = 0,
    progress: bool = True,
    on_evaluate: Callable[[int, nn.Module], None] | None = None,
) -> FitResult:
    """Train the task's module, or load it if the file is there; a run that was cut short is resumed.

    Args:
        task: what to train.
        settings: how.
        path: file of the weights, named by the caller after all that decides them; None keeps nothing.
        seed: of every draw.
        progress: show it.
        on_evaluate: see :func:`fit`.

    Raises:
        ArtefactError: the file is damaged or can't be written.
        TrainingError: training diverged.
    """
    if path is None:
        return fit(task, settings, seed=seed, progress=progress, on_evaluate=on_evaluate)
    if path.exists():
        weights, metadata = read_tensors(path)
        task.module.load_state_dict(weights)
        task.module.eval()
        say(f"{task.title}: found, made earlier", show=progress)
        return FitResult(**json.loads(metadata["result"]))
    checkpoint = path.with_suffix(".checkpoint")
    result = fit(task, settings, seed=seed, checkpoint=checkpoint, progress=progress, on_evaluate=on_evaluate)
    if result.complete:
        write_tensors(path, task.module.state_dict(), {"result": json.dumps(asdict(result))})
        checkpoint.unlink(missing_ok=True)
    return result

"""The one training loop of invkit: autoencoders, t and e all pass through it."""

from __future__ import annotations

import copy
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invkit.errors import SettingsError, TrainingError
from invkit.training.checkpoint import load_checkpoint, save_checkpoint
from invkit.training.step import State, take_step
from invkit.training.task import FitResult, FitSettings, Task
from invkit.utils import distributed
from invkit.utils.io import content_hash
from invkit.utils.progress import Progress, log

__all__ = ["fit", "seconds_per_step"]

_RECOVERIES = 4
_PROBE = 5.0  # seconds that measuring may take


@torch.enable_grad()  # whatever the caller has set
def fit(
    task: Task,
    settings: FitSettings,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    on_evaluate: Callable[[int, nn.Module], None] | None = None,
) -> FitResult:
    """Train the task's module; afterwards it holds the averaged weights with the best held-out metric.

    Ctrl-C ends training and keeps the best so far; a second one raises KeyboardInterrupt. With a
    checkpoint file a later call resumes, and ends with the same weights as an uninterrupted run. Several processes
    (`torchrun`) share each batch; a batch for which memory is too small is computed in pieces.

    Args:
        task: what to train.
        settings: how.
        seed: of every draw.
        checkpoint: file to resume from and to write to, atomically, at each evaluation.
        on_evaluate: called at step 0 and after each evaluation, by the main process, with the step and the averaged
            module.

    Raises:
        TrainingError: the loss stayed non-finite after several restarts from the last good state at half the
            learning rate.
        ArtefactError: the checkpoint is damaged, or belongs to other settings.
        SettingsError: a batch has fewer rows than there are processes.
    """
    if settings.batch_size < distributed.world_size():
        raise SettingsError(
            f"{task.title}: some processes would have no row of a batch",
            expected=f"batch_size of {distributed.world_size()} or more",
            got=settings.batch_size,
            hint="Take larger batches, or fewer processes.",
        )
    state = State(task, settings)
    key = content_hash(asdict(settings), seed, task.rows, [list(p.shape) for p in task.module.parameters()])
    if checkpoint is not None and distributed.broadcast(checkpoint.exists()):
        state.restore(*load_checkpoint(checkpoint, key))
        state.result.stopped = "done"
        log(f"{task.title}: resumed at step {state.result.steps}")
    if not distributed.is_main():
        checkpoint = on_evaluate = None  # the main process writes for all
    bar = Progress(task.title, settings.steps, start=state.result.steps)
    if state.result.steps == 0:
        _evaluate(task, state, {})  # where training only makes things worse, the start is kept
        if on_evaluate is not None:
            on_evaluate(0, state.average)
    good = (state.tensors(), copy.deepcopy(state.counters()))
    begun, spent = time.monotonic(), state.result.seconds
    task.module.train()
    with _interruptible() as interrupted, torch.random.fork_rng([]):
        while state.result.steps < settings.steps and not _shared(0.0, interrupted)[1]:
            stale = state.result.steps - state.result.best_step
            if state.result.steps and stale >= settings.patience * settings.evaluate_every:
                state.result.stopped = "early"  # told here, so that a resumed run stops where an undisturbed one does
                break
            train = _to_evaluation(task, state, settings, seed, bar, interrupted)
            if train is None:
                break
            held_out = _evaluate(task, state, train) if math.isfinite(train["loss"]) else math.nan
            if not math.isfinite(held_out):
                good = _recover(task, state, good)
                bar.step = state.result.steps
                continue
            bar.set_note(f"held-out {held_out:.4f}")
            state.result.seconds = spent + time.monotonic() - begun
            good = (state.tensors(), copy.deepcopy(state.counters()))
            if on_evaluate is not None:
                on_evaluate(state.result.steps, state.average)
            if checkpoint is not None:
                save_checkpoint(checkpoint, key, *good)
        if interrupted.is_set() and state.result.steps < settings.steps:
            state.result.stopped = "interrupted"
            state.result.seconds = spent + time.monotonic() - begun
            if checkpoint is not None:
                save_checkpoint(checkpoint, key, state.tensors(), state.counters())
    bar.close()
    best = {name: value.cpu() for name, value in state.best.items()}  # of a GPU that others may not see
    task.module.load_state_dict(distributed.broadcast(best))  # buffers are each process's own
    task.module.eval()
    return state.result


def seconds_per_step(task: Task, settings: FitSettings) -> float:
    """Measure what a step takes at the end of training, on a copy: the fastest of a few, the first not counted."""
    probe = copy.copy(task)
    probe.module = copy.deepcopy(task.module).train()
    state = State(probe, settings, shared=False)
    state.result.steps = settings.steps - 1
    taken: list[float] = []
    with torch.random.fork_rng([]):
        while len(taken) < 2 or (len(taken) < 6 and sum(taken) < _PROBE):
            begun = time.monotonic()
            take_step(probe, state, settings, seed=0)
            taken.append(time.monotonic() - begun)
    return min(taken[1:])


def _shared(loss: float, interrupted: threading.Event) -> tuple[float, bool]:
    """Return the mean loss of all processes, and whether any was interrupted.

    All leave at the same place, or some would wait for the others for ever.
    """
    if distributed.world_size() == 1:
        return loss, interrupted.is_set()
    loss, stopping = distributed.mean(torch.tensor([loss, float(interrupted.is_set())])).tolist()
    if stopping:
        interrupted.set()
    return loss, stopping > 0


def _to_evaluation(
    task: Task, state: State, settings: FitSettings, seed: int, bar: Progress, interrupted: threading.Event
) -> dict[str, float] | None:
    """Train up to the next evaluation; give means of the loss and its terms, or None if interrupted.

    The loss is NaN at the first that isn't finite.
    """
    seen: dict[str, list[float]] = {}
    while True:
        loss, stopping = _shared(take_step(task, state, settings, seed), interrupted)
        state.result.steps += 1
        bar.advance()
        if not math.isfinite(loss):
            return {"loss": math.nan}
        for name, value in {"loss": loss, **task.terms}.items():
            seen.setdefault(name, []).append(value)
        if state.result.steps % settings.evaluate_every == 0 or state.result.steps == settings.steps:
            return {name: sum(values) / len(values) for name, values in seen.items()}
        if stopping:
            return None


def _evaluate(task: Task, state: State, train: dict[str, float]) -> float:
    with torch.no_grad():
        held_out = distributed.broadcast(task.validation_loss(state.average))
    result = state.result
    if math.isfinite(held_out) and result.steps:
        result.history.append((result.steps, train.pop("loss"), held_out))
        result.terms.append(train)
    if held_out < result.best or (task.keep_last and math.isfinite(held_out)):
        result.best, result.best_step = held_out, result.steps
        state.best = {k: v.detach().clone() for k, v in state.average.state_dict().items()}
    return held_out


def _recover(task: Task, state: State, good: tuple[dict[str, Tensor], Any]) -> tuple[dict[str, Tensor], Any]:
    """Go back to the last good state and halve the learning rate, or give up with the cause."""
    failed, recoveries = state.result.steps, state.result.recoveries + 1
    culprits = [n for n, p in task.module.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    state.restore(good[0], copy.deepcopy(good[1]))
    state.result.recoveries = recoveries
    state.rate_factor /= 2
    if recoveries > _RECOVERIES:
        raise TrainingError(
            f"{task.title} diverged",
            expected="a finite loss",
            got=f"a non-finite one at step {failed}, {recoveries} times, at 1/{1 / state.rate_factor / 2:.0f} of "
            f"the learning rate; first non-finite gradient: {culprits[0] if culprits else 'none, the loss itself'}",
            hint="Lower the learning rate, or look for extreme values in the images and representations.",
        )
    return state.tensors(), copy.deepcopy(state.counters())


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event; the second one interrupts as usual."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.getsignal(signal.SIGINT)

    def first(*_: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)
        log("Stopping after this step; the best so far is kept. Ctrl-C again to stop at once.")

    signal.signal(signal.SIGINT, first)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)

"""The training loop of everything that invkit trains: autoencoders, t, e, and the networks of studies."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from invkit.errors import SettingsError, TrainingError
from invkit.training.checkpoint import checkpoint_of, load_checkpoint, load_weights, save_checkpoint, save_weights
from invkit.training.formats import choose_format, in_memory_format
from invkit.training.step import Snapshot, State, take_step
from invkit.training.task import FitResult, FitSettings, Format, Task
from invkit.utils import distributed
from invkit.utils.io import content_hash, file_lock
from invkit.utils.progress import Progress, log

__all__ = ["fit"]

_RECOVERIES = 4


@torch.enable_grad()  # whatever the caller has set
def fit(
    task: Task,
    settings: FitSettings,
    *,
    path: Path | None = None,
    seed: int = 0,
    on_begin: Callable[[], None] | None = None,
    on_evaluate: Callable[[int, nn.Module], None] | None = None,
    strict: bool = False,
) -> FitResult:
    """Train the task's module, or load its weights from `path`; it then holds the best averaged weights.

    The first Ctrl-C ends training and keeps the best weights so far; a second one raises KeyboardInterrupt. With a
    `path`, an interrupted or killed run resumes from its checkpoint and ends with the same weights as an uninterrupted
    one. Of several runs with the same `path` one trains, the others wait and load. Several processes (`torchrun`) share
    each batch. A batch that exceeds memory is computed in pieces.

    Args:
        task: the module, its data and its loss.
        settings: of the training.
        path: file of the weights, named by the caller after everything that determines them; the checkpoint lies beside
            it. None writes nothing.
        seed: of every random draw.
        on_begin: called before training, also a resumed one, but not if weights are found: prepares what only training
            needs.
        on_evaluate: called at step 0 and after each evaluation, by the main process, with the step and the averaged
            module.
        strict: raise KeyboardInterrupt if training is interrupted, instead of returning.

    Returns:
        The validation loss, the history, and how training ended.

    Raises:
        TrainingError: the loss stayed non-finite after several restarts from the last good state at half the
            learning rate.
        ArtefactError: a file cannot be written or read, or the checkpoint belongs to other settings. Damaged files are
            replaced.
        SettingsError: a batch has fewer rows than there are processes.

    Example:
        >>> import torch, invkit
        >>> class Line(invkit.training.Task):
        ...     title, rows = "line", 8
        ...     module = torch.nn.Linear(1, 1)
        ...
        ...     def loss(self, module, rows, generator):
        ...         x = torch.randn(len(rows), 1, generator=generator)
        ...         return (module(x) - 2 * x).square().mean()
        ...
        ...     def validation_loss(self, module):
        ...         return float((module(torch.ones(1, 1)) - 2).square())
        >>> settings = invkit.FitSettings(steps=100, batch_size=8, learning_rate=0.1, evaluate_every=20, ema=0.9)
        >>> result = fit(Line(), settings)
        >>> result.best < 0.1, result.stopped
        (True, 'done')
    """
    if settings.batch_size < distributed.world_size():
        raise SettingsError(
            f"{task.title}: some processes would have no row of a batch",
            expected=f"batch_size of {distributed.world_size()} or more",
            got=settings.batch_size,
            hint="Use larger batches, or fewer processes.",
        )
    with file_lock(path):
        result = None if path is None else load_weights(path, task.module)
        if result is not None:
            log(f"{task.title}: found, trained before")
        else:
            if on_begin is not None:
                on_begin()
            result = _train(task, settings, seed, None if path is None else checkpoint_of(path), on_evaluate)
            if path is not None and result.complete and distributed.is_main():
                save_weights(path, task.module, result)
            distributed.barrier()
    task.module.eval()
    if strict and not result.complete:
        raise KeyboardInterrupt
    return result


def _train(
    task: Task,
    settings: FitSettings,
    seed: int,
    checkpoint: Path | None,
    on_evaluate: Callable[[int, nn.Module], None] | None,
) -> FitResult:
    """Train from the start or from a checkpoint, and load the best averaged weights into the module."""
    key = content_hash(asdict(settings), seed, task.rows, [list(p.shape) for p in task.module.parameters()])
    saved = None
    if checkpoint is not None and distributed.broadcast(checkpoint.exists()):
        saved = load_checkpoint(checkpoint, key)
    if not distributed.is_main():
        checkpoint = on_evaluate = None  # the main process writes for all
    chosen = choose_format(task, settings) if saved is None else FitResult.from_dict(saved[1]["result"]).format
    with in_memory_format(task.module, chosen.memory_format):
        state = _start(task, settings, chosen, saved, on_evaluate)
        begun, spent, good = time.monotonic(), state.result.seconds, state.snapshot()
        bar = Progress(task.title, settings.steps, start=state.result.steps)
        losses: dict[str, list[float]] = {}
        with _interruptible() as interrupted, torch.random.fork_rng([]):
            stopping = False
            while state.result.steps < settings.steps and not stopping:
                if state.result.steps - state.result.best_step >= settings.patience * settings.evaluate_every:
                    state.result.stopped = "early"  # decided here, so that a resumed run stops where a whole one does
                    break
                loss, stopping = _shared(take_step(task, state, settings, seed), interrupted)
                state.result.steps += 1
                bar.advance()
                for name, value in {"loss": loss, **task.terms}.items():
                    losses.setdefault(name, []).append(value)
                due = state.result.steps % settings.evaluate_every == 0 or state.result.steps == settings.steps
                if not math.isfinite(loss) or (due and not math.isfinite(_evaluate(task, state, losses))):
                    good = _recover(task, state, good)
                    bar.step, losses = state.result.steps, {}
                elif due:
                    bar.set_note(f"validation loss {state.result.history[-1][2]:.4f}")
                    state.result.seconds, losses = spent + time.monotonic() - begun, {}
                    good = state.snapshot()
                    if on_evaluate is not None:
                        on_evaluate(state.result.steps, state.average)
                    if checkpoint is not None:
                        save_checkpoint(checkpoint, key, *good)
                    stopping = _shared(0.0, interrupted)[1]
            if stopping and state.result.steps < settings.steps:
                state.result.stopped, state.result.seconds = "interrupted", spent + time.monotonic() - begun
                if checkpoint is not None:
                    save_checkpoint(checkpoint, key, *state.snapshot())
        bar.close()
        best = {name: value.cpu() for name, value in state.best.items()}  # from a GPU that others may not see
        task.module.load_state_dict(distributed.broadcast(best))  # each process has its own buffers
    return state.result


def _start(
    task: Task,
    settings: FitSettings,
    chosen: Format,
    saved: Snapshot | None,
    on_evaluate: Callable[[int, nn.Module], None] | None,
) -> State:
    """Return the state of a run at its start, evaluated, or the one that was saved."""
    state = State(task, settings, chosen)
    if saved is not None:
        state.restore(*saved)
        state.result.stopped = "done"
        log(f"{task.title}: resumed at step {state.result.steps}")
    else:
        _evaluate(task, state, {})  # the start is kept if training only makes things worse
        if on_evaluate is not None:
            on_evaluate(0, state.average)
    task.module.train()
    return state


def _shared(loss: float, interrupted: threading.Event) -> tuple[float, bool]:
    """Return the mean loss of all processes, and whether any was interrupted: all stop at the same step."""
    if distributed.world_size() == 1:
        return loss, interrupted.is_set()
    loss, stopping = distributed.mean(torch.tensor([loss, float(interrupted.is_set())])).tolist()
    if stopping:
        interrupted.set()
    return loss, stopping > 0


def _evaluate(task: Task, state: State, losses: dict[str, list[float]]) -> float:
    """Return the validation loss of the averaged weights; keep them if it is the best, and add it to the history."""
    with torch.no_grad():
        loss = distributed.broadcast(task.validation_loss(state.average))
    result = state.result
    if math.isfinite(loss) and result.steps:
        means = {name: sum(values) / len(values) for name, values in losses.items()}
        result.history.append((result.steps, means.pop("loss"), loss))
        result.terms.append(means)
    if loss < result.best or (task.keep_last and math.isfinite(loss)):
        result.best, result.best_step = loss, result.steps
        state.best = {k: v.detach().clone() for k, v in state.average.state_dict().items()}
    return loss


def _recover(task: Task, state: State, good: Snapshot) -> Snapshot:
    """Return to the last good state and halve the learning rate.

    Raises:
        TrainingError: that has been tried before several times.
    """
    failed, recoveries = state.result.steps, state.result.recoveries + 1
    culprits = [n for n, p in task.module.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    state.restore(*good)
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
    return state.snapshot()


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

"""The one training loop of invkit: autoencoders, t and e all pass through it."""

from __future__ import annotations

import copy
import math
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invkit import processes
from invkit.data import out_of_memory
from invkit.errors import SettingsError, TrainingError
from invkit.progress import Progress, say
from invkit.seeds import generator_for, seed_for
from invkit.serialize import fingerprint
from invkit.training.checkpoint import load_checkpoint, save_checkpoint
from invkit.training.order import batch_rows
from invkit.training.precision import multiplies_bfloat16

__all__ = ["FitResult", "FitSettings", "Task", "fit", "seconds_of_fit", "seconds_per_step"]

_RECOVERIES = 4
_PROBE = 5.0  # seconds that measuring may take


@dataclass(frozen=True)
class FitSettings:
    """How long and how fast to train.

    Attributes:
        steps: optimiser steps.
        batch_size: rows a step.
        learning_rate: its maximum; it rises over the first `warmup` of the steps, then falls to 0 as a cosine.
        weight_decay: decoupled weight decay of AdamW.
        betas: of AdamW.
        warmup: share of the steps.
        clip: largest norm of the gradient.
        ema: decay of the exponential moving average of the weights; the average is what is kept.
        evaluate_every: steps between held-out evaluations and checkpoints.
        patience: evaluations without improvement after which training stops early.
        bf16: run the forward pass under bfloat16 autocast, on a machine that multiplies bfloat16 itself; where it would
            only imitate it, in float32.
    """

    steps: int
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)
    warmup: float = 0.05
    clip: float = 1.0
    ema: float = 0.99
    evaluate_every: int = 100
    patience: int = 20
    bf16: bool = False

    def rate(self, step: int) -> float:
        """Give the learning rate at a step."""
        rise = max(1.0, self.warmup * self.steps)
        if step < rise:
            return self.learning_rate * (step + 1) / rise
        done = (step - rise) / max(1.0, self.steps - rise)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class Task(ABC):
    """What is trained: a module, rows of data, a loss.

    Attributes:
        title: shown with the progress.
        module: the module to train.
        rows: number of training rows.
        step: number of the step that the loop is at, for a loss that changes with it.
        terms: what the last loss was made of, by name; their means are kept in the history.
        keep_last: keep the last average instead of the best: for a loss, such as an adversarial one, that the held-out
            figure does not tell all of.
    """

    title: str
    module: nn.Module
    rows: int
    step: int = 0
    keep_last: bool = False
    terms: Mapping[str, float] = {}  # replaced, never changed

    @property
    def parts(self) -> list[nn.Module]:
        """Parts of the module whose gradients are clipped each on its own."""
        return [self.module]

    @abstractmethod
    def loss(self, module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Give the mean loss of some rows (B,), every draw from the generator."""

    @abstractmethod
    def held_out(self, module: nn.Module) -> float:
        """Give the held-out figure, lower is better; the same noise at every call."""


@dataclass
class FitResult:
    """How training went.

    Attributes:
        best: held-out figure of the weights that were kept, the lowest, or the last where the task keeps the last.
        best_step: when it was reached.
        steps: steps done.
        history: (step, mean training loss since the last entry, held-out figure).
        terms: for each entry of the history the mean of each term of the loss.
        seconds: time spent, over all resumed runs.
        stopped: `done`, `early` (no improvement) or `interrupted` (Ctrl-C).
        recoveries: how often a non-finite loss was rolled back.
    """

    best: float = math.inf
    best_step: int = 0
    steps: int = 0
    history: list[tuple[int, float, float]] = field(default_factory=list)
    terms: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str = "done"
    recoveries: int = 0

    @property
    def complete(self) -> bool:
        """Whether training came to its own end."""
        return self.stopped != "interrupted"


class _Loss(nn.Module):
    """A task's loss as a forward pass, which is what data-parallel training wraps."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.module, self._loss = task.module, task.loss

    def forward(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        return self._loss(self.module, rows, generator)


class _State:
    """All that a checkpoint holds: weights, their average, the best average, optimiser and counters.

    Attributes:
        loss: the loss, with gradients averaged over all processes where there are several.
        pieces: in how many a batch is computed, one after the other, for lack of memory.
    """

    def __init__(self, task: Task, settings: FitSettings, *, shared: bool = True) -> None:
        module = self.module = task.module
        self.loss = processes.parallel(_Loss(task), unused=len(task.parts) > 1) if shared else _Loss(task)
        self.pieces = 1
        self.average = copy.deepcopy(module).requires_grad_(False).eval()
        self.best = copy.deepcopy(module.state_dict())
        self._averaged, self._current = (
            [v for v in (*m.parameters(), *m.buffers()) if v.is_floating_point()] for m in (self.average, module)
        )
        self.optimizer = torch.optim.AdamW(
            module.parameters(),
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.result = FitResult()
        self.rate_factor = 1.0

    def average_in(self, decay: float, step: int) -> None:
        with torch.no_grad():
            torch._foreach_lerp_(self._averaged, self._current, 1 - min(decay, (1 + step) / (10 + step)))

    def tensors(self) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        for name, state in (
            ("module", self.module.state_dict()), ("average", self.average.state_dict()), ("best", self.best)
        ):  # fmt: skip
            out |= {f"{name}/{k}": v.detach().clone() for k, v in state.items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            out |= {f"optimizer/{index}/{slot}": v.detach().clone() for slot, v in slots.items()}
        return out

    def counters(self) -> dict[str, Any]:
        return {"result": asdict(self.result), "rate_factor": self.rate_factor}

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, Any]) -> None:
        def part(name: str) -> dict[str, Tensor]:
            return {k.removeprefix(name + "/"): v for k, v in tensors.items() if k.startswith(name + "/")}

        self.module.load_state_dict(part("module"))
        self.average.load_state_dict(part("average"))
        self.best = {k: v.clone() for k, v in part("best").items()}
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in part("optimizer").items():
            index, slot = key.split("/")
            slots.setdefault(int(index), {})[slot] = value.clone()
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": slots})
        self.result = FitResult(**counters["result"])
        self.result.history = [(int(s), float(a), float(b)) for s, a, b in self.result.history]
        self.rate_factor = counters["rate_factor"]


@torch.enable_grad()  # whatever the caller has set
def fit(
    task: Task,
    settings: FitSettings,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: bool = True,
    on_evaluate: Callable[[int, nn.Module], None] | None = None,
) -> FitResult:
    """Train the task's module; afterwards it holds the averaged weights with the best held-out figure.

    Ctrl-C ends training and keeps the best so far; a second one raises KeyboardInterrupt. With a
    checkpoint file a later call resumes, and ends with the same weights as an uninterrupted run. Several processes
    (`torchrun`) share each batch; a batch for which memory is too small is computed in pieces.

    Args:
        task: what to train.
        settings: how.
        seed: of every draw.
        checkpoint: file to resume from and to write to, atomically, at each evaluation.
        progress: show it.
        on_evaluate: called at step 0 and after each evaluation, by the main process, with the step and the averaged
            module.

    Raises:
        TrainingError: the loss stayed non-finite after several restarts from the last good state at half the
            learning rate.
        ArtefactError: the checkpoint is damaged, or belongs to other settings.
        SettingsError: a batch has fewer rows than there are processes.
    """
    if settings.batch_size < processes.count():
        raise SettingsError(
            f"{task.title}: some processes would have no row of a batch",
            expected=f"batch_size of {processes.count()} or more",
            got=settings.batch_size,
            hint="Take larger batches, or fewer processes.",
        )
    state = _State(task, settings)
    key = fingerprint(asdict(settings), seed, task.rows, [list(p.shape) for p in task.module.parameters()])
    if checkpoint is not None and processes.agreed(checkpoint.exists()):
        state.restore(*load_checkpoint(checkpoint, key))
        state.result.stopped = "done"
        say(f"{task.title}: resumed at step {state.result.steps}", show=progress)
    if not processes.is_main():
        checkpoint = on_evaluate = None  # the main process writes for all
    bar = Progress(task.title, settings.steps, start=state.result.steps, show=progress)
    if state.result.steps == 0:
        _evaluate(task, state, {})  # where training only makes things worse, the start is kept
        if on_evaluate is not None:
            on_evaluate(0, state.average)
    good = (state.tensors(), copy.deepcopy(state.counters()))
    begun, spent = time.monotonic(), state.result.seconds
    task.module.train()
    with _interruptible() as interrupted, torch.random.fork_rng([]):
        while state.result.steps < settings.steps and not _stopping(interrupted):
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
            bar.tell(f"held-out {held_out:.4f}")
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
    task.module.load_state_dict(processes.agreed(best))  # buffers are each process's own
    task.module.eval()
    return state.result


def seconds_per_step(task: Task, settings: FitSettings) -> float:
    """Measure what a step takes at the end of training, on a copy: the fastest of a few, the first not counted."""
    probe = copy.copy(task)
    probe.module = copy.deepcopy(task.module).train()
    state = _State(probe, settings, shared=False)
    state.result.steps = settings.steps - 1
    taken: list[float] = []
    with torch.random.fork_rng([]):
        while len(taken) < 2 or (len(taken) < 6 and sum(taken) < _PROBE):
            begun = time.monotonic()
            _step(probe, state, settings, seed=0)
            taken.append(time.monotonic() - begun)
    return min(taken[1:])


def seconds_of_fit(task: Task, settings: FitSettings) -> float:
    """Measure a few steps and one evaluation, and give what all of the training takes if nothing ends it early."""
    begun = time.monotonic()
    with torch.no_grad():
        task.held_out(task.module)
    evaluation = time.monotonic() - begun
    evaluations = 1 + math.ceil(settings.steps / settings.evaluate_every)
    return settings.steps * seconds_per_step(task, settings) + evaluations * evaluation


def _stopping(interrupted: threading.Event) -> bool:
    """Whether any process was interrupted: all leave at the same place, or some would wait for the others for ever."""
    if processes.mean(torch.tensor(float(interrupted.is_set()))) > 0:
        interrupted.set()
        return True
    return False


def _to_evaluation(
    task: Task, state: _State, settings: FitSettings, seed: int, bar: Progress, interrupted: threading.Event
) -> dict[str, float] | None:
    """Train up to the next evaluation; give means of the loss and its terms, or None if interrupted.

    The loss is NaN at the first that isn't finite.
    """
    seen: dict[str, list[float]] = {}
    while True:
        loss = _step(task, state, settings, seed)
        if processes.count() > 1:
            loss = float(processes.mean(torch.tensor(loss)))
        stopping = _stopping(interrupted)
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


def _step(task: Task, state: _State, settings: FitSettings, seed: int) -> float:
    """Do one optimiser step and give its loss; nothing is changed if the loss isn't finite."""
    step = task.step = state.result.steps
    rows = batch_rows(task.rows, settings.batch_size, step, seed)[processes.rank() :: processes.count()]
    loss = _gradients(task, state, settings, rows, seed)
    norms = [nn.utils.clip_grad_norm_(part.parameters(), settings.clip) for part in task.parts]
    value = loss + 0 * float(sum(norms))  # NaN when any is not finite
    if math.isfinite(value):
        for group in state.optimizer.param_groups:
            group["lr"] = settings.rate(step) * state.rate_factor
        state.optimizer.step()
        state.average_in(settings.ema, step)
    return value


def _gradients(task: Task, state: _State, settings: FitSettings, rows: Tensor, seed: int) -> float:
    """Give the loss of a batch, with its gradients set; in ever smaller pieces while memory is too small."""
    own = (processes.rank(),) if processes.count() > 1 else ()  # each process draws its own noise
    device = next(task.module.parameters()).device
    bf16 = settings.bf16 and multiplies_bfloat16(device.type)
    while True:
        generator, total = generator_for(seed, "step", task.step, *own), 0.0
        torch.default_generator.manual_seed(seed_for(seed, "layers", task.step, *own))  # dropout takes no generator
        state.optimizer.zero_grad(set_to_none=True)
        try:
            for piece in rows.chunk(state.pieces):
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    loss = state.loss(piece, generator) * (len(piece) / len(rows))
                torch.autograd.backward(loss)
                total += float(loss.detach())
            return total
        except (RuntimeError, MemoryError) as error:
            if processes.count() > 1 or state.pieces >= len(rows) or not out_of_memory(error):
                raise
            state.pieces *= 2
            say(f"{task.title}: too little memory, going on with {math.ceil(len(rows) / state.pieces)} rows at once")


def _evaluate(task: Task, state: _State, train: dict[str, float]) -> float:
    with torch.no_grad():
        held_out = processes.agreed(task.held_out(state.average))
    result = state.result
    if math.isfinite(held_out) and result.steps:
        result.history.append((result.steps, train.pop("loss"), held_out))
        result.terms.append(train)
    if held_out < result.best or (task.keep_last and math.isfinite(held_out)):
        result.best, result.best_step = held_out, result.steps
        state.best = {k: v.detach().clone() for k, v in state.average.state_dict().items()}
    return held_out


def _recover(task: Task, state: _State, good: tuple[dict[str, Tensor], Any]) -> tuple[dict[str, Tensor], Any]:
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
        say("Stopping after this step; the best so far is kept. Ctrl-C again to stop at once.")

    signal.signal(signal.SIGINT, first)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)

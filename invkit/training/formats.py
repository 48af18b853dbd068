"""The number format and the memory format of a training run, chosen by timing a few of its own steps.

A processor's flags do not decide: with avx512_bf16 but without AMX, a step of t under bfloat16 autocast has taken 1.7
times as long as in float32 on one machine and 0.6 times as long on another (`benchmarks/precision.py`).

On one machine the same settings and seed give the same weights as long as the measurement gives the same choice. It may
differ between runs only where two formats differ in speed by about the margin. A run that resumes keeps its format.
Pin `precision` and `memory_format` in :class:`FitSettings` where weights must be equal to the last bit.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import torch
from torch import nn

from invkit.training.step import State, take_step
from invkit.training.task import FitSettings, Format, Task
from invkit.utils import distributed
from invkit.utils.progress import log
from invkit.utils.resources import is_out_of_memory

__all__ = ["candidates", "choose_format", "in_memory_format", "seconds_per_step", "time_formats"]

_MARGIN = 1.15  # a format must be faster by this factor than a simpler one
_SHORT = 300  # steps; shorter runs are not measured
_SECONDS, _SHARE = 2.0, 0.01  # of the measurement, and as its share of the run: time after which it ends
_LEAST, _MOST = 2, 5  # timed steps of each format
_HOPELESS = 1.5  # a format slower than the simplest by this factor is not timed again
_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


_chosen: dict[object, Format] = {}  # by signature: a process trains equal modules equally


def choose_format(task: Task, settings: FitSettings) -> Format:
    """Return the format to train in: a pinned one, else the fastest of a short measurement.

    The simplest format, float32 and contiguous, is kept unless another is faster by 15 %, so that a busy machine seldom
    changes the choice. The choice is measured once a process for modules of one signature, and the main process decides
    for all. Runs of fewer than 300 steps are not measured.

    Args:
        task: on a copy of whose module the steps are taken; the task, its module and the random state are unchanged.
        settings: `precision` and `memory_format` are followed unless they are `auto`.

    Example:
        >>> import torch
        >>> from invkit.data import ImageSet
        >>> from invkit.autoencoders import AutoencoderTask, ConvAutoencoder
        >>> images = ImageSet(torch.rand(8, 3, 28, 28))
        >>> task = AutoencoderTask(ConvAutoencoder(28, latent_dim=8, width=4), images, images)
        >>> choose_format(task, FitSettings(steps=1000, precision="bfloat16", memory_format="contiguous"))
        Format(precision='bfloat16', memory_format='contiguous')
    """
    possible = candidates(task.module, settings)
    if len(possible) == 1 or settings.steps < _SHORT:
        return possible[0]
    shapes = tuple((name, tuple(p.shape)) for name, p in task.module.named_parameters())
    run = (settings.batch_size, _device(task.module).type, torch.get_num_threads(), distributed.world_size())
    signature = (type(task).__name__, possible, shapes, run)
    if signature not in _chosen:
        try:
            taken = time_formats(task, settings, possible)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            taken = dict.fromkeys(possible, float("inf"))  # there is no space for a copy of the module
        _chosen[signature] = found = distributed.broadcast(_fastest(taken))
        if found != possible[0]:
            ratio = taken[found] / taken[possible[0]]
            log(f"{task.title}: trains in {found.precision}, {found.memory_format}: {ratio:.2f} of the time of a step")
    return _chosen[signature]


def candidates(module: nn.Module, settings: FitSettings) -> tuple[Format, ...]:
    """Return the formats that the settings leave open, the simplest first.

    A GPU that supports bfloat16 uses it. ``channels_last`` is tried for modules with 4-D weights; a module that is
    already in it stays so.
    """
    precisions: tuple[Literal["float32", "bfloat16"], ...]
    memory_formats: tuple[Literal["contiguous", "channels_last"], ...]
    if settings.precision != "auto":
        precisions = (settings.precision,)
    elif _device(module).type == "cpu":
        precisions = ("float32", "bfloat16")
    elif _device(module).type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        precisions = ("float32",)
    else:
        precisions = ("bfloat16",)
    if settings.memory_format != "auto":
        memory_formats = (settings.memory_format,)
    elif (found := _memory_format(module)) == "contiguous" and any(p.ndim == 4 for p in module.parameters()):
        memory_formats = ("contiguous", "channels_last")
    else:
        memory_formats = (found,)
    return tuple(Format(precision, memory_format) for precision in precisions for memory_format in memory_formats)


@contextmanager
def in_memory_format(module: nn.Module, memory_format: Literal["contiguous", "channels_last"]) -> Iterator[None]:
    """Keep the module's 4-D weights in a memory format, and afterwards in the one that they had."""
    found = _memory_format(module)
    if memory_format != found:
        module.to(memory_format=_FORMATS[memory_format])
    try:
        yield
    finally:
        if memory_format != found:
            module.to(memory_format=_FORMATS[found])


def seconds_per_step(task: Task, settings: FitSettings, chosen: Format | None = None) -> float:
    """Return the time of a step at the end of training in seconds by the clock, the least of five after a first one.

    Args:
        task: it, its module and the random state are left unchanged.
        settings: of the training.
        chosen: the format; None measures which one training would choose.

    Example:
        >>> import torch
        >>> from invkit.data import ImageSet
        >>> from invkit.autoencoders import AutoencoderTask, ConvAutoencoder
        >>> images = ImageSet(torch.rand(8, 3, 28, 28))
        >>> task = AutoencoderTask(ConvAutoencoder(28, latent_dim=8, width=4), images, images)
        >>> seconds_per_step(task, FitSettings(steps=10, batch_size=4)) > 0
        True
    """
    chosen = chosen or choose_format(task, settings)
    taken = []
    with _unchanged_random_state(task.module):
        probe = _probe(task, settings, chosen.memory_format)
        for _ in range(1 + _MOST):
            begun = time.perf_counter()
            _seconds(*probe, settings, chosen)
            taken.append(time.perf_counter() - begun)
    return min(taken[1:])


def time_formats(task: Task, settings: FitSettings, formats: Sequence[Format]) -> dict[Format, float]:
    """Return the least time of a step in each format, in seconds, infinite where it fails or its loss is not finite.

    Steps are those at the end of training, where every term of the loss is present. After one step each that is not
    counted, formats take turns until 2 seconds or 1 % of the run are spent, at least twice and at most five times; one
    that is slower than the first by half is dropped.

    Args:
        task: it, its module and the random state are left unchanged.
        settings: of the training.
        formats: the simplest first.
    """
    begun = time.monotonic()
    taken = dict.fromkeys(formats, float("inf"))
    with _unchanged_random_state(task.module):
        states = {name: _probe(task, settings, name) for name in dict.fromkeys(f.memory_format for f in formats)}
        failed = {f for f in formats if _seconds(*states[f.memory_format], settings, f) == float("inf")}
        for done in range(_MOST):
            limit = _HOPELESS * taken[formats[0]]
            for each in formats:
                if each not in failed and (taken[each] == float("inf") or taken[each] <= limit):
                    taken[each] = min(taken[each], _seconds(*states[each.memory_format], settings, each))
            budget = min(_SECONDS, _SHARE * settings.steps * taken[formats[0]])
            if done + 1 >= _LEAST and time.monotonic() - begun > budget:
                break
    return taken


def _probe(task: Task, settings: FitSettings, memory_format: str) -> tuple[Task, State]:
    """Copy a task with its module, in a memory format, at the last step of training."""
    probe = copy.copy(task)
    probe.module = copy.deepcopy(task.module).train().to(memory_format=_FORMATS[memory_format])
    state = State(probe, settings, shared=False)
    state.result.steps = settings.steps - 1
    return probe, state


def _seconds(probe: Task, state: State, settings: FitSettings, chosen: Format) -> float:
    """Return the time of one step, infinite if it fails: training itself reports why where no format works.

    On a CPU that is the time of this thread on a core, whatever else the machine does.
    """
    clock = time.thread_time if _device(probe.module).type == "cpu" else time.perf_counter
    state.result.format = chosen
    begun = clock()
    try:
        loss = take_step(probe, state, settings, seed=0)  # reads the loss, and so waits for a GPU
    except (RuntimeError, MemoryError):
        return float("inf")
    taken = clock() - begun
    return taken if abs(loss) < float("inf") else float("inf")


def _fastest(taken: dict[Format, float]) -> Format:
    """Return the fastest format; each must be faster than a simpler one by the margin."""
    best, *others = taken
    for other in others:
        if _MARGIN * taken[other] < taken[best]:
            best = other
    return best


def _memory_format(module: nn.Module) -> Literal["contiguous", "channels_last"]:
    weights = [p for p in module.parameters() if p.ndim == 4 and not p.is_contiguous()]
    last = any(p.is_contiguous(memory_format=torch.channels_last) for p in weights)
    return "channels_last" if last else "contiguous"


def _unchanged_random_state(module: nn.Module) -> AbstractContextManager[None]:
    device = _device(module)
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device

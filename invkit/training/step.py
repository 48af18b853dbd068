"""One training step, and the state that it changes."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from invkit.training.sampler import batch_rows
from invkit.training.task import FitResult, FitSettings, Format, Task
from invkit.utils import distributed
from invkit.utils.progress import log
from invkit.utils.random import generator_for, seed_for
from invkit.utils.resources import is_out_of_memory

__all__ = ["Snapshot", "State", "take_step"]

Snapshot = tuple[dict[str, Tensor], dict[str, Any]]  # tensors and counters


class _Loss(nn.Module):
    """A task's loss as a module, which data-parallel training can wrap."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.module, self._loss = task.module, task.loss

    def forward(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        return self._loss(self.module, rows, generator)


class State:
    """What a checkpoint holds: weights, their average, the best average, optimiser and counters.

    Attributes:
        loss: the loss, with gradients averaged over all processes.
        pieces: number of pieces in which a batch is computed, one after the other, for lack of memory.
    """

    def __init__(self, task: Task, settings: FitSettings, chosen: Format | None = None, *, shared: bool = True) -> None:
        module = self.module = task.module
        self.loss = distributed.parallel(_Loss(task), unused=len(task.parts) > 1) if shared else _Loss(task)
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
        self.result = FitResult(format=chosen or Format())
        self.rate_factor = 1.0

    def average_in(self, decay: float, step: int) -> None:
        """Move the average towards the weights, faster in the first steps."""
        with torch.no_grad():
            torch._foreach_lerp_(self._averaged, self._current, 1 - min(decay, (1 + step) / (10 + step)))

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of all tensors."""
        out: dict[str, Tensor] = {}
        for name, state in (
            ("module", self.module.state_dict()), ("average", self.average.state_dict()), ("best", self.best)
        ):  # fmt: skip
            out |= {f"{name}/{k}": v.detach().clone() for k, v in state.items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            out |= {f"optimizer/{index}/{slot}": v.detach().clone() for slot, v in slots.items()}
        return out

    def counters(self) -> dict[str, Any]:
        """Return everything else that a checkpoint holds, as JSON-able values."""
        return {"result": asdict(self.result), "rate_factor": self.rate_factor}

    def snapshot(self) -> Snapshot:
        """Return what :meth:`restore` takes."""
        return self.tensors(), self.counters()

    def restore(self, tensors: dict[str, Tensor], counters: dict[str, Any]) -> None:
        """Restore what :meth:`tensors` and :meth:`counters` returned."""

        def part(name: str) -> dict[str, Tensor]:
            return {k.removeprefix(name + "/"): v for k, v in tensors.items() if k.startswith(name + "/")}

        self.module.load_state_dict(part("module"))
        self.average.load_state_dict(part("average"))
        self.best = {k: v.clone() for k, v in part("best").items()}
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in part("optimizer").items():
            index, slot = key.split("/")
            like = parameters[int(index)]
            # in the memory format of its parameter, which the fused optimiser assumes
            own = torch.empty_like(like, dtype=value.dtype) if value.shape == like.shape else torch.empty_like(value)
            slots.setdefault(int(index), {})[slot] = own.copy_(value)
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": slots})
        self.result = FitResult.from_dict(counters["result"])
        self.rate_factor = counters["rate_factor"]


def take_step(task: Task, state: State, settings: FitSettings, seed: int) -> float:
    """Take one optimiser step and return its loss; if that is not finite, change nothing."""
    step = task.step = state.result.steps
    rows = batch_rows(task.rows, settings.batch_size, step, seed)[distributed.rank() :: distributed.world_size()]
    loss = _gradients(task, state, settings, rows, seed)
    norms = [nn.utils.clip_grad_norm_(part.parameters(), settings.clip) for part in task.parts]
    value = loss + 0 * float(sum(norms))  # NaN when any is not finite
    if math.isfinite(value):
        for group in state.optimizer.param_groups:
            group["lr"] = settings.rate(step) * state.rate_factor
        state.optimizer.step()
        state.average_in(settings.ema, step)
    return value


def _gradients(task: Task, state: State, settings: FitSettings, rows: Tensor, seed: int) -> float:
    """Return the loss of a batch and set its gradients; halve the pieces while memory is too small."""
    own = (distributed.rank(),) if distributed.world_size() > 1 else ()  # each process draws its own noise
    device = next(task.module.parameters()).device
    bf16 = state.result.format.precision == "bfloat16"
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
            if distributed.world_size() > 1 or state.pieces >= len(rows) or not is_out_of_memory(error):
                raise
            state.pieces *= 2
            log(f"{task.title}: too little memory, going on with {math.ceil(len(rows) / state.pieces)} rows at once")

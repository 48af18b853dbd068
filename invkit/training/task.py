"""What is trained, how, and how it went."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["FitResult", "FitSettings", "Format", "Task"]


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
        precision: `float32`; `bfloat16`, the forward pass under autocast; or `auto`, whichever is faster on this
            machine (:func:`invkit.training.choose_format`). Pin it, and `memory_format`, for the same weights to the
            last bit on another day.
        memory_format: of 4-D weights, and thereby of the maps of convolutions: `contiguous`, `channels_last` or `auto`.
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
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FitSettings:
        """Return the settings of which `dataclasses.asdict` made these values, also after JSON."""
        return cls(**{**values, "betas": tuple(values["betas"])})

    def rate(self, step: int) -> float:
        """Return the learning rate at a step."""
        rise = max(1.0, self.warmup * self.steps)
        if step < rise:
            return self.learning_rate * (step + 1) / rise
        done = (step - rise) / max(1.0, self.steps - rise)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class Format(NamedTuple):
    """How a step is computed.

    Attributes:
        precision: `float32`, or `bfloat16` for autocast to it.
        memory_format: of 4-D weights: `contiguous` or `channels_last`. Convolutions pass the format of their weights on
            to their outputs, so that a loss needs no code for it.
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"


class Task(ABC):
    """What is trained: a module, rows of data, a loss.

    Attributes:
        title: shown with the progress.
        module: the module to train.
        rows: number of training rows.
        step: number of the step that the loop is at, for a loss that changes with it.
        terms: what the last loss was made of, by name; their means are kept in the history.
        keep_last: keep the last average instead of the best: for a loss, such as an adversarial one, that the held-out
            metric does not tell all of.
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
        """Return the mean loss of some rows (B,), every draw from the generator."""

    @abstractmethod
    def validation_loss(self, module: nn.Module) -> float:
        """Return the mean loss of the validation data, lower is better; the same noise at every call."""


@dataclass
class FitResult:
    """How training went.

    Attributes:
        best: held-out metric of the weights that were kept, the lowest, or the last where the task keeps the last.
        best_step: when it was reached.
        steps: steps done.
        history: (step, mean training loss since the last entry, held-out metric).
        terms: for each entry of the history the mean of each term of the loss.
        seconds: time spent, over all resumed runs.
        stopped: `done`, `early` (no improvement) or `interrupted` (Ctrl-C).
        recoveries: how often a non-finite loss was rolled back.
        format: number format and memory format of the steps.
    """

    best: float = math.inf
    best_step: int = 0
    steps: int = 0
    history: list[tuple[int, float, float]] = field(default_factory=list)
    terms: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str = "done"
    recoveries: int = 0
    format: Format = Format()

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> FitResult:
        """Return the result whose fields were written as JSON, where tuples are lists."""
        history = [(int(step), float(train), float(validation)) for step, train, validation in content["history"]]
        terms = [dict(means) for means in content["terms"]]
        return cls(**{**content, "history": history, "terms": terms, "format": Format(*content["format"])})

    @property
    def complete(self) -> bool:
        """Whether training came to its own end."""
        return self.stopped != "interrupted"

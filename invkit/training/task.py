"""A training task, its settings and its result."""

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
        batch_size: rows per step.
        learning_rate: its maximum; it rises linearly over the first `warmup` of the steps, then falls to 0 as a cosine.
        weight_decay: decoupled weight decay of AdamW.
        betas: of AdamW.
        warmup: share of the steps.
        clip: largest norm of the gradient.
        ema: decay of the exponential moving average of the weights, which is the result.
        evaluate_every: steps between evaluations, each followed by a checkpoint.
        patience: evaluations without improvement after which training stops early.
        precision: `float32`; `bfloat16`, the forward pass under autocast; or `auto`, whichever is faster on this
            machine (:func:`invkit.training.choose_format`). Pin it, and `memory_format`, for the same weights to the
            last bit on another day.
        memory_format: of 4-D weights, and thereby of the maps of convolutions: `contiguous`, `channels_last` or `auto`.

    Example:
        >>> settings = FitSettings(steps=100, learning_rate=1e-3, warmup=0.1)
        >>> f"{settings.rate(0):.4f} {settings.rate(10):.4f} {settings.rate(100):.4f}"
        '0.0001 0.0010 0.0000'
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

    @classmethod
    def paper(cls) -> FitSettings:
        """Return the training of flows in the authors' code."""
        return cls(
            steps=250_000, batch_size=16, learning_rate=7.2e-5, betas=(0.5, 0.9), evaluate_every=1000, patience=250
        )

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

    Example:
        >>> Format("bfloat16", "channels_last").precision
        'bfloat16'
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"


class Task(ABC):
    """A module to train, rows of data and a loss. See :func:`invkit.training.fit` for an example.

    Attributes:
        title: name in messages and on the progress bar.
        module: the module to train.
        rows: number of training rows.
        step: number of the current step, set by the loop, for a loss that depends on it.
        terms: terms of the last loss by name; their means are kept in the history.
        keep_last: keep the last averaged weights instead of the best: for a loss, such as an adversarial one, that the
            validation loss does not cover.
    """

    title: str
    module: nn.Module
    rows: int
    step: int = 0
    keep_last: bool = False
    terms: Mapping[str, float] = {}  # replaced, never changed

    @property
    def parts(self) -> list[nn.Module]:
        """Parts of the module whose gradients are clipped separately."""
        return [self.module]

    @abstractmethod
    def loss(self, module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return the mean loss of a batch.

        Args:
            module: the task's module, or a copy of it.
            rows: indices of the batch, (B,).
            generator: of every random draw.
        """

    @abstractmethod
    def validation_loss(self, module: nn.Module) -> float:
        """Return the mean loss on the validation data, lower is better, with the same noise in every call."""


@dataclass
class FitResult:
    """How training went.

    Attributes:
        best: validation loss of the kept weights: the lowest, or the last if the task keeps the last.
        best_step: its step.
        steps: number of steps taken.
        history: (step, mean training loss since the previous entry, validation loss).
        terms: mean of each term of the loss, for each entry of the history.
        seconds: time spent, over all resumed runs.
        stopped: `done`, `early` (no improvement) or `interrupted` (Ctrl-C).
        recoveries: number of returns to an earlier state after a non-finite loss.
        format: number format and memory format of the steps.

    Example:
        >>> FitResult(steps=40, stopped="interrupted").complete
        False
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
        """Whether training was not interrupted."""
        return self.stopped != "interrupted"

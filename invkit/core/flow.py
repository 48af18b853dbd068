"""The contract of an invertible block, conditional or not."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from torch import Tensor, nn

__all__ = ["FlowBlock", "Transformed"]


class Transformed(NamedTuple):
    """What a flow gives back, in either direction.

    Attributes:
        value: (B, D), the transformed values.
        log_det: (B,), log |det ∂value/∂input|, in float32 or float64, never less.
    """

    value: Tensor
    log_det: Tensor


class FlowBlock(nn.Module, ABC):
    """A map that is invertible in x for each condition. Its direction is fixed: data to latent.

    An implementation MUST, and :func:`invkit.testing.check_flow_block` checks it:

    - be deterministic, and treat each row of a batch alone;
    - have no flag and no branch on a tensor's value in `forward` (it compiles with ``fullgraph=True``);
    - put whatever depends on data into :meth:`initialize`, which the trainer calls once;
    - keep permutations and the like as buffers, so that saving and loading restores them;
    - give log-determinants in at least float32, from a log-scale, never from the log of a rounded scale.

    Attributes:
        config: JSON-able arguments that build the same block again (but for blocks inside it), with D as `dim`, or with
            the `shape` (C, H, W) of the map that a code (B, C·H·W) is.
        broadcasts: whether :meth:`inverse` also takes n codes of each condition, (B, n, D) with (B, 1, C), and then
            works on each condition once.
    """

    config: dict[str, Any]
    broadcasts: bool = False

    @property
    def dim(self) -> int:
        """D, the number of channels of a code: `dim` of the config, or the product of its `shape`."""
        return int(self.config["dim"] if "dim" in self.config else math.prod(self.config["shape"]))

    @abstractmethod
    def forward(self, x: Tensor, condition: Tensor | None = None) -> Transformed:
        """Map data x (B, D), given a condition (B, C), to latents, with log |det ∂y/∂x|."""

    @abstractmethod
    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Transformed:
        """Map latents y (B, D) to data, with log |det ∂x/∂y|, the negative of `forward`'s."""

    def initialize(self, x: Tensor, condition: Tensor | None = None) -> None:
        """Set data-dependent parameters from a first batch. The default has none."""

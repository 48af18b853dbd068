"""The contract of an invertible block, conditional or not."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from torch import Tensor, nn

__all__ = ["FlowBlock", "Transformed"]


class Transformed(NamedTuple):
    """The result of a flow in either direction.

    Attributes:
        value: (B, D), the transformed values, in the dtype of the input.
        log_det: (B,), log |det ∂value/∂input|, in the dtype of the input but float32 at least: float64 for float64
            values, float32 for float32, bfloat16 and float16.

    Example:
        >>> import torch
        >>> from invkit.flows import Shuffle
        >>> value, log_det = Shuffle(3)(torch.rand(2, 3))
        >>> value.shape, log_det
        (torch.Size([2, 3]), tensor([0., 0.]))
    """

    value: Tensor
    log_det: Tensor


class FlowBlock(nn.Module, ABC):
    """A map that is invertible in x for each condition. Its direction is data to latent.

    :func:`invkit.testing.check_flow_block` checks that an implementation

    - returns values (B, D) and log-determinants (B,), both ways, for D of 2 or more;
    - has the log-determinant of autograd's Jacobian within 1e-9, and an inverse within 1e-10, when it and its data are
      float64: nothing on the way may round to float32;
    - has the negative of that log-determinant in its inverse;
    - treats each row of a batch alone;
    - depends on the condition where ``config["condition_dim"]`` is positive, and ignores a condition otherwise;
    - is deterministic: :meth:`forward` draws no random number and changes no parameter and no buffer, in training and
      in evaluation mode. Whatever depends on data goes into :meth:`initialize`, which the trainer calls once;
    - has a finite gradient of the likelihood in every trainable parameter;
    - compiles with ``torch.compile(fullgraph=True)``: no flag and no branch on a tensor's value in :meth:`forward`;
    - returns float32 values and log-determinants of float32 data under bfloat16 autocast. Take log-determinants from a
      log-scale, never from the log of a rounded scale;
    - is restored by ``load_state_dict``: permutations and the like are buffers.

    Attributes:
        config: JSON-able arguments that build the same block again (but for blocks inside it), with D as `dim`, or with
            the `shape` (C, H, W) of the map that a code (B, C·H·W) is. `condition_dim` is C, if the block takes a
            condition.
        broadcasts: whether :meth:`inverse` also takes n codes of each condition, (B, n, D) with (B, 1, C), and then
            computes with each condition once.
        autoregressive: whether the block transforms all of a map, each part given those before it. A flow of such
            blocks has neither mixings nor scales (:class:`invkit.flows.TarFlow`).

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from invkit.core import FlowBlock, Transformed
        >>> class Scale(FlowBlock):
        ...     def __init__(self, dim):
        ...         super().__init__()
        ...         self.config = {"dim": dim}
        ...         self.log_scale = nn.Parameter(torch.zeros(dim))
        ...     def forward(self, x, condition=None):
        ...         return Transformed(x * self.log_scale.exp(), self.log_scale.sum().expand(len(x)))
        ...     def inverse(self, y, condition=None):
        ...         return Transformed(y * (-self.log_scale).exp(), -self.log_scale.sum().expand(len(y)))
        >>> from invkit.testing import check_flow_block
        >>> check_flow_block(Scale(4)).passed
        True
    """

    config: dict[str, Any]
    broadcasts: bool = False
    autoregressive: bool = False

    @property
    def dim(self) -> int:
        """D, the number of channels of a code: `dim` of the config, or the product of its `shape`."""
        return int(self.config["dim"] if "dim" in self.config else math.prod(self.config["shape"]))

    @abstractmethod
    def forward(self, x: Tensor, condition: Tensor | None = None) -> Transformed:
        """Map data x (B, D), given a condition (B, C), to latents, with log |det ∂y/∂x|."""

    @abstractmethod
    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Transformed:
        """Map latents y (B, D) to data, with log |det ∂x/∂y|, the negative of that of :meth:`forward`."""

    def initialize(self, x: Tensor, condition: Tensor | None = None) -> None:
        """Set data-dependent parameters from a first batch. The default has none."""

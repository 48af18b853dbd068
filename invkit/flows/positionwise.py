"""A block over channels, applied at each position of a map: actnorm by channel, the invertible 1×1 convolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from invkit.core import FlowBlock, Transformed
from invkit.flows.shapes import map_shape

__all__ = ["Positionwise"]


class Positionwise(FlowBlock):
    """Apply one block over channels at each position of a code (B, C·H·W) that is a map (C, H, W).

    With :class:`LULinear` it is Glow's invertible 1×1 convolution (Kingma & Dhariwal, 2018), with :class:`ActNorm` its
    actnorm, with :class:`Shuffle` a permutation of channels.

    Args:
        block: over C channels, without a condition.
        shape: (C, H, W).

    Example:
        >>> import torch
        >>> from invkit.flows import LULinear, Positionwise
        >>> convolution = Positionwise(LULinear(3), (3, 8, 8))
        >>> convolution(torch.rand(2, 192)).value.shape
        torch.Size([2, 192])
    """

    def __init__(self, block: FlowBlock, shape: Sequence[int]) -> None:
        super().__init__()
        self.block = block
        self.shape = map_shape(shape)
        self.config = {"shape": list(self.shape)}

    def _rows(self, x: Tensor) -> Tensor:
        """Rearrange codes (B, C·P) as rows (B·P, C), one for each position."""
        return x.unflatten(1, (self.shape[0], -1)).transpose(1, 2).flatten(0, 1)

    def _back(self, moved: Transformed, n: int) -> Transformed:
        value = moved.value.unflatten(0, (n, -1)).transpose(1, 2).flatten(1)
        return Transformed(value, moved.log_det.unflatten(0, (n, -1)).sum(1))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Transformed:
        """Transform x (B, C·H·W)."""
        return self._back(self.block(self._rows(x)), len(x))

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Transformed:
        """Invert :meth:`forward`."""
        return self._back(self.block.inverse(self._rows(y)), len(y))

    @torch.no_grad()
    def initialize(self, x: Tensor, condition: Tensor | None = None) -> None:
        """Initialise the block on all positions of all maps."""
        self.block.initialize(self._rows(x))

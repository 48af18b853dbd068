"""Squeeze, space to channels, and what leaves a part of the code alone: the steps of a multi-scale flow."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from invkit.core import FlowBlock, Transformed
from invkit.errors import SettingsError
from invkit.flows.shuffle import Permutation

__all__ = ["Part", "Squeeze"]


class Squeeze(Permutation):
    """Turns each 2×2 square of positions of a map (C, H, W) into channels, (4C, H/2, W/2); volume-preserving.

    Args:
        shape: (C, H, W), H and W even.

    Raises:
        SettingsError: an odd side.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        channels, height, side = (int(n) for n in shape)
        if height % 2 or side % 2:
            raise SettingsError("Only maps of even sides can be squeezed", expected="even H and W", got=tuple(shape))
        places = torch.arange(channels * height * side).view(channels, height // 2, 2, side // 2, 2)
        super().__init__(places.permute(0, 2, 4, 1, 3).flatten(), {"shape": [channels, height, side]})


class Part(FlowBlock):
    """A block on the first channels of a code alone; the others pass (the split of Real NVP, sec. 3.6).

    Args:
        block: over the first channels.
        dim: D of the whole.
    """

    def __init__(self, block: FlowBlock, dim: int) -> None:
        super().__init__()
        self.block = block
        self.own: int = block.dim
        self.config = {"dim": dim, "condition_dim": block.config.get("condition_dim", 0)}

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Transformed:
        """Transform the first channels of x (B, D)."""
        value, log_det = self.block(x[:, : self.own], condition)
        return Transformed(torch.cat([value, x[:, self.own :]], 1), log_det)

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Transformed:
        """Undo :meth:`forward`."""
        value, log_det = self.block.inverse(y[:, : self.own], condition)
        return Transformed(torch.cat([value, y[:, self.own :]], 1), log_det)

    @torch.no_grad()
    def initialize(self, x: Tensor, condition: Tensor | None = None) -> None:
        """Initialise the block."""
        self.block.initialize(x[:, : self.own], condition)

"""The steps of a multi-scale flow: space to channels, and a block over a part of the code."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from invkit.core import FlowBlock, Transformed
from invkit.errors import SettingsError
from invkit.flows.shapes import map_shape
from invkit.flows.shuffle import Permutation

__all__ = ["Part", "Squeeze"]


class Squeeze(Permutation):
    """Move each 2×2 square of positions of a map (C, H, W) to channels, (4C, H/2, W/2); volume-preserving.

    Args:
        shape: (C, H, W), H and W even.

    Raises:
        SettingsError: H or W is odd.

    Example:
        >>> import torch
        >>> from invkit.flows import Squeeze
        >>> Squeeze((1, 2, 2))(torch.rand(3, 4)).value.shape
        torch.Size([3, 4])
    """

    def __init__(self, shape: Sequence[int]) -> None:
        channels, height, side = map_shape(shape)
        if height % 2 or side % 2:
            raise SettingsError("Only maps with even sides can be squeezed", expected="even H and W", got=tuple(shape))
        places = torch.arange(channels * height * side).view(channels, height // 2, 2, side // 2, 2)
        super().__init__(places.permute(0, 2, 4, 1, 3).flatten(), {"shape": [channels, height, side]})


class Part(FlowBlock):
    """Apply a block to the first channels of a code and leave the others unchanged (Real NVP, sec. 3.6).

    Args:
        block: over the first channels.
        dim: D, number of all channels.

    Example:
        >>> import torch
        >>> from invkit.flows import AffineCoupling, Part
        >>> x = torch.rand(2, 6)
        >>> value = Part(AffineCoupling(4, width=8), dim=6)(x).value
        >>> torch.equal(value[:, 4:], x[:, 4:])
        True
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
        """Invert :meth:`forward`."""
        value, log_det = self.block.inverse(y[:, : self.own], condition)
        return Transformed(torch.cat([value, y[:, self.own :]], 1), log_det)

    @torch.no_grad()
    def initialize(self, x: Tensor, condition: Tensor | None = None) -> None:
        """Initialise the block."""
        self.block.initialize(x[:, : self.own], condition)

"""Fixed permutations of the channels (paper, sec. A.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from invkit.core import FlowBlock, Transformed

__all__ = ["Permutation", "Shuffle"]


class Permutation(FlowBlock):
    """y_k = x_π(k) for a fixed permutation π; volume-preserving.

    Args:
        permutation: π, (D,), part of the saved state.
        config: see :class:`FlowBlock`.
    """

    broadcasts = True
    permutation: Tensor
    inverse_permutation: Tensor

    def __init__(self, permutation: Tensor, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("permutation", permutation)
        self.register_buffer("inverse_permutation", permutation.argsort())

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Transformed:
        """Permute the channels."""
        return Transformed(x.index_select(-1, self.permutation), _zeros(x))

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Transformed:
        """Apply the inverse permutation."""
        return Transformed(y.index_select(-1, self.inverse_permutation), _zeros(y))


class Shuffle(Permutation):
    """A random fixed permutation.

    Args:
        dim: number of channels D.
        seed: seed of π, any integer; modulo 2⁶⁴ it seeds torch's generator.

    Example:
        >>> import torch
        >>> from invkit.flows import Shuffle
        >>> shuffle, x = Shuffle(4, seed=1), torch.rand(2, 4)
        >>> torch.equal(shuffle.inverse(shuffle(x).value).value, x)
        True
    """

    def __init__(self, dim: int, seed: int = 0) -> None:
        permutation = torch.randperm(dim, generator=torch.Generator().manual_seed(seed % 2**64))
        super().__init__(permutation, {"dim": dim, "seed": seed})


def _zeros(x: Tensor) -> Tensor:
    return torch.zeros(x.shape[:-1], dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)

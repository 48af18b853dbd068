"""A fixed random permutation of the channels (paper, sec. A.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from invkit.core import FlowBlock, Transformed

__all__ = ["Shuffle"]


class Shuffle(FlowBlock):
    """y_k = x_π(k) for a permutation π drawn once; volume-preserving.

    Args:
        dim: number of channels D.
        seed: seed of π, which is part of the saved state.
    """

    permutation: Tensor
    inverse_permutation: Tensor

    def __init__(self, dim: int, seed: int = 0) -> None:
        super().__init__()
        self.config = {"dim": dim, "seed": seed}
        permutation = torch.randperm(dim, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("permutation", permutation)
        self.register_buffer("inverse_permutation", permutation.argsort())

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Transformed:
        """Permute."""
        return Transformed(x[..., self.permutation], _zeros(x))

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Transformed:
        """Permute back."""
        return Transformed(y[..., self.inverse_permutation], _zeros(y))


def _zeros(x: Tensor) -> Tensor:
    return torch.zeros(x.shape[:-1], dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)

"""A learned linear mixing of all channels, by its LU factors (Kingma & Dhariwal, Glow, 2018, sec. 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from invkit.core import FlowBlock, Transformed
from invkit.flows.scaling import soft_bound, sum_log_scale

__all__ = ["LULinear"]


class LULinear(FlowBlock):
    """y = P L U x + b, with P a fixed permutation, L unit lower and U upper triangular.

    Starts as a random rotation, so that it mixes at least as well as a shuffle from the first step.

    Args:
        dim: number of channels D.
        seed: seed of the rotation.
    """

    permutation: Tensor
    inverse_permutation: Tensor
    sign: Tensor

    def __init__(self, dim: int, seed: int = 0) -> None:
        super().__init__()
        self.config = {"dim": dim, "seed": seed}
        generator = torch.Generator().manual_seed(seed)
        rotation = torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64, generator=generator))[0]
        P, L, U = torch.linalg.lu(rotation)
        permutation = P.argmax(1)  # (P m)_k = m_π(k)
        diagonal = U.diagonal()
        dtype = torch.get_default_dtype()
        self.register_buffer("permutation", permutation)
        self.register_buffer("inverse_permutation", permutation.argsort())
        self.register_buffer("sign", diagonal.sign().to(dtype))
        self.lower = nn.Parameter(L.tril(-1).to(dtype))
        self.upper = nn.Parameter(U.triu(1).to(dtype))
        self.log_diagonal = nn.Parameter(diagonal.abs().log().to(dtype))
        self.bias = nn.Parameter(torch.zeros(dim))

    def _factors(self) -> tuple[Tensor, Tensor, Tensor]:
        log_diagonal = soft_bound(self.log_diagonal)
        L = self.lower.tril(-1) + torch.eye(len(self.bias), dtype=self.lower.dtype, device=self.lower.device)
        U = self.upper.triu(1) + torch.diag(self.sign * log_diagonal.exp())
        return L, U, log_diagonal

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Transformed:
        """Mix the channels of x (B, D)."""
        L, U, log_diagonal = self._factors()
        with torch.autocast(x.device.type, enabled=False):
            mixed = x @ (L @ U)[self.permutation].to(x.dtype).T + self.bias
        return Transformed(mixed, sum_log_scale(log_diagonal.expand_as(x)))

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Transformed:
        """Solve the two triangular systems."""
        L, U, log_diagonal = self._factors()
        rhs = (y - self.bias)[..., self.inverse_permutation].T
        half = torch.linalg.solve_triangular(L, rhs, upper=False, unitriangular=True)
        x = torch.linalg.solve_triangular(U, half, upper=True).T
        return Transformed(x, -sum_log_scale(log_diagonal.expand_as(y)))

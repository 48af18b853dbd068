"""A learned linear mixing of all channels, by its LU factors (Kingma & Dhariwal, Glow, 2018, sec. 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from invkit.core import FlowBlock, Transformed
from invkit.flows.scaling import soft_bound, soft_bound_inverse, sum_log_scale

__all__ = ["LULinear"]


class LULinear(FlowBlock):
    """y = P L U x + b, with P a fixed permutation, L unit lower and U upper triangular.

    It starts as a random rotation, which mixes at least as well as a shuffle from the first step.

    Args:
        dim: number of channels D.
        seed: seed of the rotation, any integer.

    Example:
        >>> import torch
        >>> from invkit.flows import LULinear
        >>> mixing, x = LULinear(4), torch.rand(2, 4)
        >>> torch.allclose(mixing.inverse(mixing(x).value).value, x, atol=1e-5)
        True
    """

    permutation: Tensor
    inverse_permutation: Tensor
    sign: Tensor

    def __init__(self, dim: int, seed: int = 0) -> None:
        super().__init__()
        self.config = {"dim": dim, "seed": seed}
        self.register_buffer("permutation", torch.arange(dim))
        self.register_buffer("inverse_permutation", torch.arange(dim))
        self.register_buffer("sign", torch.ones(dim))
        self.lower = nn.Parameter(torch.zeros(dim, dim))
        self.upper = nn.Parameter(torch.zeros(dim, dim))
        self.log_diagonal = nn.Parameter(torch.zeros(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        generator = torch.Generator().manual_seed(seed % 2**64)
        random = torch.randn(dim, dim, dtype=torch.float64, generator=generator, device="cpu")
        self.set_matrix(torch.linalg.qr(random)[0])

    @torch.no_grad()
    def set_matrix(self, matrix: Tensor) -> None:
        """Set the mixing to y = matrix · x, for an invertible matrix (D, D)."""
        P, L, U = torch.linalg.lu(matrix.double())
        self.permutation.copy_(P.argmax(1))  # (P m)_k = m_π(k)
        self.inverse_permutation.copy_(self.permutation.argsort())
        self.sign.copy_(U.diagonal().sign())
        self.lower.copy_(L.tril(-1))
        self.upper.copy_(U.triu(1))
        self.log_diagonal.copy_(soft_bound_inverse(U.diagonal().abs().log()))

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

"""Affine coupling of both halves (Dinh et al., Real NVP, 2017, arXiv 1605.08803; paper, eq. 14-18)."""

from __future__ import annotations

import torch
from torch import Tensor

from invkit.core import FlowBlock, Transformed
from invkit.flows.scaling import soft_bound, sum_log_scale
from invkit.flows.subnetworks import Subnetwork

__all__ = ["AffineCoupling", "PaperCoupling"]


class AffineCoupling(FlowBlock):
    """x̃₁ = x₁·s₁(x₂, h) + t₁(x₂, h), then x̃₂ = x₂·s₂(x̃₁, h) + t₂(x̃₁, h).

    One network gives log s and t of a half together: half the matrix products of the paper's two.

    Args:
        dim: D, at least 2; for an odd D the first half is the smaller.
        condition_dim: C, width of the condition h; 0 for none.
        width: width of the subnetworks.
        depth: hidden layers beyond the first.
        limit: log s lies in (−limit, limit).
    """

    broadcasts = True

    def __init__(self, dim: int, condition_dim: int = 0, width: int = 256, depth: int = 1, limit: float = 2.0) -> None:
        super().__init__()
        self.config = {
            "dim": dim, "condition_dim": condition_dim, "width": width, "depth": depth, "limit": limit,
        }  # fmt: skip
        self.limit = limit
        self.split = (dim // 2, dim - dim // 2)
        first, second = self.split
        self.drive1 = Subnetwork(second, condition_dim, 2 * first, width, depth)
        self.drive2 = Subnetwork(first, condition_dim, 2 * second, width, depth)

    def _affine(self, drive: Subnetwork, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        raw, shift = drive(x, condition).chunk(2, -1)
        return soft_bound(raw, self.limit), shift

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Transformed:
        """Transform the first half given the second, then the second given the new first."""
        x1, x2 = x.split(self.split, -1)
        log_s1, t1 = self._affine(self.drive1, x2, condition)
        y1 = torch.addcmul(t1, x1, log_s1.exp())
        log_s2, t2 = self._affine(self.drive2, y1, condition)
        y2 = torch.addcmul(t2, x2, log_s2.exp())
        return Transformed(torch.cat([y1, y2], -1), sum_log_scale(log_s1) + sum_log_scale(log_s2))

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Transformed:
        """Undo the second half first."""
        y1, y2 = y.split(self.split, -1)
        log_s2, t2 = self._affine(self.drive2, y1, condition)
        x2 = (y2 - t2) * (-log_s2).exp()
        log_s1, t1 = self._affine(self.drive1, x2, condition)
        x1 = (y1 - t1) * (-log_s1).exp()
        return Transformed(torch.cat([x1, x2], -1), -sum_log_scale(log_s1) - sum_log_scale(log_s2))


class _SeparateSubnetworks(Subnetwork):
    """The paper's s and t: two networks, s ending in tanh; gives (log s, t) side by side."""

    def __init__(self, dim_in: int, dim_condition: int, dim_out: int, width: int, depth: int) -> None:
        super().__init__(dim_in, dim_condition, dim_out, width, depth, zero=False)
        self.shift = Subnetwork(dim_in, dim_condition, dim_out, width, depth, zero=False)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return torch.cat([torch.tanh(super().forward(x, condition)), self.shift(x, condition)], -1)


class PaperCoupling(AffineCoupling):
    """The same map with the paper's subnetworks: s = exp(tanh(·)) and t separate, PyTorch's default init."""

    def __init__(self, dim: int, condition_dim: int = 0, width: int = 1024, depth: int = 2) -> None:
        FlowBlock.__init__(self)
        self.config = {"dim": dim, "condition_dim": condition_dim, "width": width, "depth": depth}
        self.split = (dim // 2, dim - dim // 2)
        first, second = self.split
        self.drive1 = _SeparateSubnetworks(second, condition_dim, first, width, depth)
        self.drive2 = _SeparateSubnetworks(first, condition_dim, second, width, depth)

    def _affine(self, drive: Subnetwork, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        log_s, shift = drive(x, condition).chunk(2, -1)
        return log_s, shift

"""Affine coupling of both halves (Dinh et al., Real NVP, 2017, arXiv 1605.08803; paper, eq. 14-18)."""

from __future__ import annotations

from abc import abstractmethod
from typing import final

import torch
from torch import Tensor, nn

from invkit.core import FlowBlock, Transformed
from invkit.flows.scaling import soft_bound, sum_log_scale
from invkit.flows.subnetworks import Subnetwork

__all__ = ["AffineCoupling", "PaperCoupling"]


class _Coupling(FlowBlock):
    """The map of both couplings; subclasses choose the networks and how log s and t come from them.

    Args:
        dim: D; for an odd D the first half is the smaller.
    """

    broadcasts = True
    drive1: nn.Module
    drive2: nn.Module

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.split = (dim // 2, dim - dim // 2)

    @abstractmethod
    def _affine(self, drive: nn.Module, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return log s and t of one half, given the other half x."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Transformed:
        """Transform the first half given the second, then the second given the new first."""
        x1, x2 = x.split(self.split, -1)
        log_s1, t1 = self._affine(self.drive1, x2, condition)
        y1 = torch.addcmul(t1, x1, log_s1.exp())
        log_s2, t2 = self._affine(self.drive2, y1, condition)
        y2 = torch.addcmul(t2, x2, log_s2.exp())
        return Transformed(torch.cat([y1, y2], -1), sum_log_scale(log_s1) + sum_log_scale(log_s2))

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Transformed:
        """Invert the second half first."""
        y1, y2 = y.split(self.split, -1)
        log_s2, t2 = self._affine(self.drive2, y1, condition)
        x2 = (y2 - t2) * (-log_s2).exp()
        log_s1, t1 = self._affine(self.drive1, x2, condition)
        x1 = (y1 - t1) * (-log_s1).exp()
        return Transformed(torch.cat([x1, x2], -1), -sum_log_scale(log_s1) - sum_log_scale(log_s2))


@final
class AffineCoupling(_Coupling):
    """x̃₁ = x₁·s₁(x₂, h) + t₁(x₂, h), then x̃₂ = x₂·s₂(x̃₁, h) + t₂(x̃₁, h).

    One network computes log s and t of a half together: half the matrix products of the paper's two.

    Args:
        dim: D, at least 2; for an odd D the first half is the smaller.
        condition_dim: C, width of the condition h; 0 for none.
        width: width of the subnetworks.
        depth: hidden layers beyond the first.
        limit: log s lies in (−limit, limit).

    Example:
        >>> import torch
        >>> from invkit.flows import AffineCoupling
        >>> block = AffineCoupling(8, condition_dim=3)
        >>> x, h = torch.rand(5, 8), torch.rand(5, 3)
        >>> value, log_det = block(x, h)
        >>> torch.allclose(block.inverse(value, h).value, x)
        True
    """

    def __init__(self, dim: int, condition_dim: int = 0, width: int = 256, depth: int = 1, limit: float = 2.0) -> None:
        super().__init__(dim)
        self.config = {
            "dim": dim, "condition_dim": condition_dim, "width": width, "depth": depth, "limit": limit,
        }  # fmt: skip
        self.limit = limit
        first, second = self.split
        self.drive1 = Subnetwork(second, condition_dim, 2 * first, width, depth)
        self.drive2 = Subnetwork(first, condition_dim, 2 * second, width, depth)

    def _affine(self, drive: nn.Module, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        raw, shift = drive(x, condition).chunk(2, -1)
        return soft_bound(raw, self.limit), shift


@final
class PaperCoupling(_Coupling):
    """The same map with the paper's subnetworks: s = exp(tanh(·)) and t separate, PyTorch's default initialisation.

    Args:
        dim: D, at least 2; for an odd D the first half is the smaller.
        condition_dim: C, width of the condition h; 0 for none.
        width: width h_w of the subnetworks (table S10).
        depth: depth h_d: hidden layers beyond the first.

    Example:
        >>> import torch
        >>> from invkit.flows import PaperCoupling
        >>> PaperCoupling(8, width=16)(torch.rand(5, 8)).log_det.shape
        torch.Size([5])
    """

    def __init__(self, dim: int, condition_dim: int = 0, width: int = 1024, depth: int = 2) -> None:
        super().__init__(dim)
        self.config = {"dim": dim, "condition_dim": condition_dim, "width": width, "depth": depth}
        first, second = self.split
        self.drive1 = _ScaleAndShift(second, condition_dim, first, width, depth)
        self.drive2 = _ScaleAndShift(first, condition_dim, second, width, depth)

    def _affine(self, drive: nn.Module, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        log_scale, shift = drive(x, condition)
        return log_scale, shift


class _ScaleAndShift(nn.Module):
    """The paper's two networks; returns log s, which ends in tanh, and t."""

    def __init__(self, dim_in: int, dim_condition: int, dim_out: int, width: int, depth: int) -> None:
        super().__init__()
        self.scale = Subnetwork(dim_in, dim_condition, dim_out, width, depth, zero=False)
        self.shift = Subnetwork(dim_in, dim_condition, dim_out, width, depth, zero=False)

    def forward(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        return torch.tanh(self.scale(x, condition)), self.shift(x, condition)

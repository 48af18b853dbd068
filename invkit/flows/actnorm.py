"""Actnorm: a learned shift and scale for each channel (Kingma & Dhariwal, Glow, 2018, arXiv 1807.03039)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from invkit.core import FlowBlock, Transformed
from invkit.flows.scaling import soft_bound, soft_bound_inverse, sum_log_scale

__all__ = ["ActNorm"]


class ActNorm(FlowBlock):
    """y = (x − loc) · exp(log_scale) for each channel.

    :meth:`initialize` sets both so that the first batch has zero mean and unit variance. A constant channel, and every
    channel of a batch of one, is shifted only.

    Args:
        dim: number of channels D.

    Example:
        >>> import torch
        >>> from invkit.flows import ActNorm
        >>> norm, x = ActNorm(3), 5 + 2 * torch.randn(1000, 3)
        >>> norm.initialize(x)
        >>> bool(norm(x).value.mean().abs() < 1e-5)
        True
    """

    broadcasts = True

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.config = {"dim": dim}
        self.loc = nn.Parameter(torch.zeros(dim))
        self.raw_log_scale = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Transformed:
        """Normalise x (B, D)."""
        log_scale = soft_bound(self.raw_log_scale)
        return Transformed((x - self.loc) * log_scale.exp(), sum_log_scale(log_scale).expand(x.shape[:-1]))

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Transformed:
        """Invert :meth:`forward`."""
        log_scale = soft_bound(self.raw_log_scale)
        return Transformed(y * (-log_scale).exp() + self.loc, -sum_log_scale(log_scale).expand(y.shape[:-1]))

    @torch.no_grad()
    def initialize(self, x: Tensor, condition: Tensor | None = None) -> None:
        """Set shift and scale from the mean and standard deviation of x (B, D)."""
        mean, std = x.mean(0), x.std(0, correction=0)
        constant = std <= 1e-6 * mean.abs().clamp(min=1.0)
        self.loc.copy_(mean)
        self.raw_log_scale.copy_(soft_bound_inverse(-torch.where(constant, torch.ones_like(std), std).log()))

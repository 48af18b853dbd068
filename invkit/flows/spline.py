"""Rational-quadratic spline coupling (Durkan et al., Neural Spline Flows, 2019, arXiv 1906.04032)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from invkit.core import FlowBlock, Transformed
from invkit.flows.scaling import sum_log_scale
from invkit.flows.subnetworks import Subnetwork

__all__ = ["SplineCoupling"]

_MIN_BIN = 1e-3  # of the interval
_MIN_SLOPE = 1e-3


class SplineCoupling(FlowBlock):
    """Transform each half in turn by element-wise monotone splines whose knots depend on the other half.

    Inside [−bound, bound] the map is a rational-quadratic spline of `bins` pieces, outside the identity.

    Args:
        dim: D, at least 2.
        condition_dim: C, width of the condition; 0 for none.
        width: width of the subnetworks.
        depth: hidden layers beyond the first.
        bins: number of spline pieces K.
        bound: the spline covers [−bound, bound].

    Example:
        >>> import torch
        >>> from invkit.flows import SplineCoupling
        >>> block = SplineCoupling(8, condition_dim=3, width=16)
        >>> block(torch.rand(2, 8), torch.rand(2, 3)).log_det.shape
        torch.Size([2])
    """

    def __init__(
        self,
        dim: int,
        condition_dim: int = 0,
        width: int = 256,
        depth: int = 1,
        bins: int = 8,
        bound: float = 5.0,
    ) -> None:
        super().__init__()
        self.config = {
            "dim": dim, "condition_dim": condition_dim, "width": width, "depth": depth,
            "bins": bins, "bound": bound,
        }  # fmt: skip
        self.bins, self.bound = bins, bound
        self.split = (dim // 2, dim - dim // 2)
        first, second = self.split
        self.drive1 = Subnetwork(second, condition_dim, first * (3 * bins - 1), width, depth)
        self.drive2 = Subnetwork(first, condition_dim, second * (3 * bins - 1), width, depth)

    def _knots(self, drive: Subnetwork, x: Tensor, condition: Tensor | None) -> tuple[Tensor, ...]:
        raw = drive(x, condition).unflatten(-1, (-1, 3 * self.bins - 1))
        widths, heights, slopes = raw.split([self.bins, self.bins, self.bins - 1], -1)
        # a shift by log(e − 1) makes softplus one at zero: the spline starts as the identity
        slopes = _MIN_SLOPE + (1 - _MIN_SLOPE) * F.softplus(slopes + 0.5413248546129181)
        return self._edges(widths), self._edges(heights), F.pad(slopes, (1, 1), value=1.0)

    def _edges(self, raw: Tensor) -> Tensor:
        share = _MIN_BIN + (1 - _MIN_BIN * self.bins) * raw.softmax(-1)
        inner = -self.bound + 2 * self.bound * share.cumsum(-1)[..., :-1]
        return F.pad(F.pad(inner, (1, 0), value=-self.bound), (0, 1), value=self.bound)

    def _bend(self, x: Tensor, knots: tuple[Tensor, ...], *, inverse: bool) -> tuple[Tensor, Tensor]:
        """Apply the spline or its inverse to x (B, d); return values and log-slopes, both (B, d)."""
        edges_x, edges_y, slopes = knots
        inside = (x > -self.bound) & (x < self.bound)
        clipped = x.clamp(-self.bound, self.bound)  # before evaluating: `where` alone lets NaN gradients through
        edges = edges_y if inverse else edges_x
        index = (clipped.unsqueeze(-1) >= edges[..., 1:-1]).sum(-1, keepdim=True)

        def pick(values: Tensor, offset: int = 0) -> Tensor:
            return values.gather(-1, index + offset).squeeze(-1)

        x0, y0, d0, d1 = pick(edges_x), pick(edges_y), pick(slopes), pick(slopes, 1)
        w, h = pick(edges_x, 1) - x0, pick(edges_y, 1) - y0
        s = h / w
        if inverse:  # eq. 6-8: the root of a quadratic, in its stable form
            rise = clipped - y0
            a = h * (s - d0) + rise * (d0 + d1 - 2 * s)
            b = h * d0 - rise * (d0 + d1 - 2 * s)
            c = -s * rise
            theta = 2 * c / (-b - (b.square() - 4 * a * c).clamp(min=0).sqrt())
        else:
            theta = (clipped - x0) / w
        mix = theta * (1 - theta)
        denominator = s + (d0 + d1 - 2 * s) * mix
        value = theta * w + x0 if inverse else y0 + h * (s * theta.square() + d0 * mix) / denominator
        slope = d1 * theta.square() + 2 * s * mix + d0 * (1 - theta).square()
        log_slope = 2 * s.log() + slope.log() - 2 * denominator.log()
        log_slope = -log_slope if inverse else log_slope
        return torch.where(inside, value, x), torch.where(inside, log_slope, torch.zeros_like(x))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Transformed:
        """Transform the first half given the second, then the second given the new first."""
        x1, x2 = x.split(self.split, -1)
        y1, log_s1 = self._bend(x1, self._knots(self.drive1, x2, condition), inverse=False)
        y2, log_s2 = self._bend(x2, self._knots(self.drive2, y1, condition), inverse=False)
        return Transformed(torch.cat([y1, y2], -1), sum_log_scale(log_s1) + sum_log_scale(log_s2))

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Transformed:
        """Invert the second half first."""
        y1, y2 = y.split(self.split, -1)
        x2, log_s2 = self._bend(y2, self._knots(self.drive2, y1, condition), inverse=True)
        x1, log_s1 = self._bend(y1, self._knots(self.drive1, x2, condition), inverse=True)
        return Transformed(torch.cat([x1, x2], -1), sum_log_scale(log_s1) + sum_log_scale(log_s2))

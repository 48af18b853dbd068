"""Log-scales: softly bounded, summed in at least float32."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["LIMIT", "soft_bound", "soft_bound_inverse", "sum_log_scale"]

_LIMIT = 16.0  # exp(16) = 8.9 million: wide enough for any channel, and far from the limits of float32
LIMIT = 0.99 * _LIMIT  # of what soft_bound_inverse can invert


def soft_bound(raw: Tensor, limit: float = _LIMIT) -> Tensor:
    """Squash to (−limit, limit), slope one at zero."""
    return limit * torch.tanh(raw / limit)


def soft_bound_inverse(bounded: Tensor, limit: float = _LIMIT) -> Tensor:
    """Invert :func:`soft_bound`; values beyond 0.999 of the limit are clipped."""
    return limit * torch.atanh((bounded / limit).clamp(-0.999, 0.999))


def sum_log_scale(log_scale: Tensor) -> Tensor:
    """Sum over the last axis, (B, D) to (B,), in at least float32."""
    return log_scale.to(torch.promote_types(log_scale.dtype, torch.float32)).sum(-1)

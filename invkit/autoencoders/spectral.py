"""Layers whose weight is divided by its largest singular value (Miyato et al., 2018), in the two published forms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["PowerStep", "StoredVectors", "attend", "bounded"]

_LIMIT = 1e6
_WARM_UP = 15  # power iterations for the singular vectors of new weights


class _Spectral(nn.Module, ABC):
    """A linear layer, of shape (out, in), or a convolution that preserves the size, of shape (out, in, k, k)."""

    weight_name: ClassVar[str]
    bias: nn.Parameter | None
    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, *shape: int, bias: bool = True) -> None:
        super().__init__()
        weight = nn.Parameter(torch.empty(shape))
        nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
        self.register_parameter(self.weight_name, weight)
        self.register_parameter("bias", nn.Parameter(torch.zeros(shape[0])) if bias else None)
        u, v = _singular_vectors(weight.detach().flatten(1))
        self.register_buffer("weight_u", u)
        self.register_buffer("weight_v", v)

    @abstractmethod
    def sigma(self, matrix: Tensor) -> Tensor:
        """Return the estimate of the largest singular value of the weight as a matrix (out, rest)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer with its weight divided by σ."""
        weight: Tensor = getattr(self, self.weight_name)
        with torch.autocast(weight.device.type, enabled=False):  # rounded vectors change σ
            weight = weight / self.sigma(weight.flatten(1))
        if weight.ndim == 2:
            return F.linear(x, weight, self.bias)
        return F.conv2d(x, weight, self.bias, padding=weight.shape[-1] // 2)


def _singular_vectors(matrix: Tensor) -> tuple[Tensor, Tensor]:
    u = F.normalize(torch.randn_like(matrix[:, 0]), dim=0)
    v = F.normalize(matrix.T @ u, dim=0)
    for _ in range(0 if matrix.is_meta else _WARM_UP):
        u = F.normalize(matrix @ v, dim=0)
        v = F.normalize(matrix.T @ u, dim=0)
    return u, v


class StoredVectors(_Spectral):
    """Hugging Face's form, which equals torch's in eval mode: σ = uᵀWv with the stored vectors."""

    weight_name = "weight_orig"

    def sigma(self, matrix: Tensor) -> Tensor:
        """Return uᵀWv."""
        return self.weight_u @ (matrix @ self.weight_v)


class _FromU(_Spectral):
    """GANalyze's form: one power iteration from the stored u in each pass; its result is stored in training only.

    Gradients flow through the weight, not through the singular vectors (Miyato et al.); ``weight_v`` is stored but
    never read.
    """

    weight_name = "weight_bar"
    _eps = 1e-4  # added to the norms, as in GANalyze, which shrinks small weights slightly

    def __init__(self, *shape: int, bias: bool = True) -> None:
        super().__init__(*shape, bias=bias)
        self.register_buffer("weight_v", torch.zeros(shape[0]))  # of this length in the published files

    def sigma(self, matrix: Tensor) -> Tensor:
        """Return uᵀWv after one power iteration."""
        with torch.no_grad():
            v = matrix.T @ self.weight_u
            v = v / (v.norm() + self._eps)
            u = matrix @ v
            u = u / (u.norm() + self._eps)
            if self.training:
                self.weight_u.copy_(u)
        return u @ (matrix @ v)


class PowerStep(nn.Module):
    """The layer of GANalyze's files, whose tensors are in a submodule ``module``."""

    def __init__(self, *shape: int, bias: bool = True) -> None:
        super().__init__()
        self.module = _FromU(*shape, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        return self.module(x)


def bounded(x: Tensor) -> Tensor:
    """Clamp to ±10⁶, far beyond the activations of codes of the prior.

    Each conditional norm multiplies by about the code's norm, and its statistics are fixed. Activations of distant
    codes, such as those of an untrained flow, would overflow within ten blocks and turn the image into NaN.
    """
    return x.clamp(-_LIMIT, _LIMIT)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend from each position to the 2×2-pooled map (Zhang et al., 2019).

    Args:
        query: (B, C, H, W).
        key: (B, C, H, W).
        value: (B, D, H, W), D ≥ C.

    Returns:
        (B, D, H, W): means of the pooled value, weighted by the softmax of query · pooled key.
    """
    key, value = F.max_pool2d(key, 2), F.max_pool2d(value, 2)
    q, k, v = (part.flatten(2).mT.unsqueeze(1) for part in (query, key, value))
    # zero-padding query and key to the width of value avoids the whole H·W × H·W/4 matrix in torch's kernel
    q, k = (F.pad(part, (0, v.shape[-1] - part.shape[-1])) for part in (q, k))
    return F.scaled_dot_product_attention(q, k, v, scale=1.0).squeeze(1).mT.unflatten(2, query.shape[2:])

"""A transformer autoregressive block over the patches of a map (Zhai et al., TarFlow, 2024, arXiv 2412.06329)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invkit.core import FlowBlock, Transformed
from invkit.errors import SettingsError
from invkit.flows.scaling import soft_bound, sum_log_scale
from invkit.flows.shapes import map_shape

__all__ = ["TarFlow", "alternating_tarflow"]

_HEADS = 4


def alternating_tarflow(
    shape: Sequence[int], condition_dim: int = 0, width: int = 128, depth: int = 2, index: int = 0
) -> TarFlow:
    """Build the block of a flow at one position; every second block goes from the last patch to the first."""
    return TarFlow(shape, condition_dim, width, depth, reverse=index % 2 == 1)


class TarFlow(FlowBlock):
    """y_k = (x_k − μ_k) · exp(−α_k), with μ_k and α_k of patch k from the patches before it and the condition.

    From data to latent all patches are transformed at once; the inverse computes one patch after the other.

    Args:
        shape: (C, H, W) of the map that a code (B, C·H·W) is.
        condition_dim: width of the condition (B, D), 0 for none.
        width: width of the transformer, a multiple of 4.
        depth: number of its layers.
        patch: side of the patches.
        reverse: go from the last patch to the first, as every second block of a flow should.
        limit: α lies in (−limit, limit).

    Raises:
        SettingsError: the patch does not divide the sides, or the width is no multiple of 4.

    Example:
        >>> import torch
        >>> from invkit.flows import TarFlow
        >>> block = TarFlow((4, 4, 4), width=16, depth=1, patch=2)
        >>> block(torch.rand(2, 64)).log_det.shape
        torch.Size([2])
    """

    autoregressive = True

    def __init__(
        self,
        shape: Sequence[int],
        condition_dim: int = 0,
        width: int = 128,
        depth: int = 2,
        patch: int = 1,
        reverse: bool = False,
        limit: float = 2.0,
    ) -> None:
        super().__init__()
        channels, height, side = self.shape = map_shape(shape)
        if height % patch or side % patch or width % _HEADS:
            raise SettingsError(
                "These patches do not fit",
                expected=f"a patch that divides {height}×{side}, and a width that {_HEADS} divides",
                got=f"patch {patch}, width {width}",
            )
        self.config = {
            "shape": list(self.shape), "condition_dim": condition_dim, "width": width, "depth": depth, "patch": patch,
            "reverse": reverse, "limit": limit,
        }  # fmt: skip
        self.patch, self.reverse, self.limit = patch, reverse, limit
        tokens, size = height // patch * (side // patch), channels * patch * patch
        self.lift = nn.Linear(size, width)
        self.start = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.condition = nn.Linear(condition_dim, width) if condition_dim else None
        self.layers = nn.ModuleList(_Layer(width) for _ in range(depth))
        self.last = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * size))
        for parameter in self.last[1].parameters():
            nn.init.zeros_(parameter)

    def _tokens(self, x: Tensor) -> Tensor:
        """Split codes (B, C·H·W) into patches (B, T, C·p·p), in the order of the block."""
        channels, height, side = self.shape
        p = self.patch
        split = x.view(-1, channels, height // p, p, side // p, p)
        tokens = split.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        return tokens.flip(1) if self.reverse else tokens

    def _code(self, tokens: Tensor) -> Tensor:
        """Join patches (B, T, C·p·p) to codes (B, C·H·W)."""
        channels, height, side = self.shape
        p = self.patch
        tokens = tokens.flip(1) if self.reverse else tokens
        split = tokens.view(-1, height // p, side // p, channels, p, p)
        return split.permute(0, 3, 1, 4, 2, 5).flatten(1)

    def _drive(self, tokens: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return α and μ of each patch, from the patches before it."""
        h = torch.cat([self.start.to(tokens.dtype).expand(len(tokens), -1, -1), self.lift(tokens[:, :-1])], 1)
        h = h + self.position
        if self.condition is not None:
            assert condition is not None, "this block was built with a condition"
            h = h + self.condition(condition.to(tokens.dtype))[:, None]
        for layer in self.layers:
            h = layer(h)
        raw, shift = self.last(h).to(tokens.dtype).chunk(2, -1)
        return soft_bound(raw, self.limit), shift

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Transformed:
        """Transform all patches of x (B, C·H·W) at once."""
        tokens = self._tokens(x)
        log_scale, shift = self._drive(tokens, condition)
        return Transformed(self._code((tokens - shift) * (-log_scale).exp()), -sum_log_scale(log_scale.flatten(1)))

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Transformed:
        """Invert :meth:`forward` patch by patch: as many passes as patches."""
        latent = self._tokens(y)
        tokens = torch.zeros_like(latent)
        for k in range(latent.shape[1]):
            log_scale, shift = self._drive(tokens, condition)
            found = latent[:, k] * log_scale[:, k].exp() + shift[:, k]
            tokens = torch.cat([tokens[:, :k], found[:, None], tokens[:, k + 1 :]], 1)
        log_scale, _ = self._drive(tokens, condition)
        return Transformed(self._code(tokens), sum_log_scale(log_scale.flatten(1)))


class _Layer(nn.Module):
    """Causal attention and a perceptron, each after a layer norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.attend(self.norm1(x)).unflatten(-1, (3, _HEADS, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))

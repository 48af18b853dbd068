"""Affine coupling of the halves of a map, by convolutions (Dinh et al., Real NVP, 2017, arXiv 1605.08803)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invkit.core import FlowBlock, Transformed
from invkit.errors import SettingsError
from invkit.flows.coupling import AffineCoupling
from invkit.flows.scaling import soft_bound, sum_log_scale
from invkit.flows.shapes import map_shape

__all__ = ["ConvCoupling", "affine_coupling"]


def affine_coupling(
    shape: Sequence[int], condition_dim: int = 0, width: int = 256, depth: int = 1, index: int = 0
) -> FlowBlock:
    """Build an affine coupling for codes of any shape: AffineCoupling for vectors, ConvCoupling for maps.

    Args:
        shape: (D,) or (C, H, W).
        condition_dim: width of the condition, 0 for none.
        width: width of the subnetworks.
        depth: their depth.
        index: position in a flow; maps are split by a checkerboard at even positions and by channels at odd ones, as
            far as they have two of these.
    """
    if len(shape) == 1:
        return AffineCoupling(shape[0], condition_dim, width, depth)
    channels, height, side = map_shape(shape)
    checkerboard = channels < 2 or (index % 2 == 0 and height * side > 1)
    return ConvCoupling(shape, condition_dim, width, depth, "checkerboard" if checkerboard else "channels")


class ConvCoupling(FlowBlock):
    """Couple the halves of a code (B, C·H·W) that is a map (C, H, W), as AffineCoupling does for vectors.

    Args:
        shape: (C, H, W).
        condition_dim: channels of the condition, 0 for none. A condition is a vector (B, D) for all positions, or a map
            (B, D, h, w) of any size.
        width: channels of the subnetworks.
        depth: 1×1 convolutions beyond the first.
        split: which halves: the first and the last `channels`, or the positions of a `checkerboard`.
        limit: log s lies in (−limit, limit).

    Raises:
        SettingsError: the map has no such halves.

    Example:
        >>> import torch
        >>> from invkit.flows import ConvCoupling
        >>> block = ConvCoupling((4, 8, 8), condition_dim=3, width=16)
        >>> block(torch.rand(2, 256), torch.rand(2, 3)).value.shape
        torch.Size([2, 256])
    """

    mask: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        condition_dim: int = 0,
        width: int = 64,
        depth: int = 1,
        split: Literal["channels", "checkerboard"] = "channels",
        limit: float = 2.0,
    ) -> None:
        super().__init__()
        channels, height, side = self.shape = map_shape(shape)
        if (channels if split == "channels" else height * side) < 2:
            raise SettingsError("This map has no two halves", expected=f"two {split} or more", got=self.shape)
        self.config = {
            "shape": list(self.shape), "condition_dim": condition_dim, "width": width, "depth": depth, "split": split,
            "limit": limit,
        }  # fmt: skip
        self.limit = limit
        if split == "channels":
            first = (torch.arange(channels) < channels // 2)[:, None, None].expand(self.shape)
        else:
            first = ((torch.arange(height)[:, None] + torch.arange(side)) % 2 == 0).expand(self.shape)
        self.register_buffer("mask", first.float().contiguous())
        self.drive1, self.drive2 = (_ConvSubnetwork(channels, condition_dim, width, depth) for _ in range(2))

    def _affine(self, drive: nn.Module, half: Tensor, moved: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return log s and t of one half, given the other; `moved` is the mask of the half."""
        raw, shift = drive(half, condition).chunk(2, 1)
        return soft_bound(raw, self.limit) * moved, shift * moved

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Transformed:
        """Transform the first half given the second, then the second given the new first."""
        x, first = x.unflatten(1, self.shape), self.mask.to(x.dtype)
        log_s1, t1 = self._affine(self.drive1, x * (1 - first), first, condition)
        y = x * log_s1.exp() + t1
        log_s2, t2 = self._affine(self.drive2, y * first, 1 - first, condition)
        y = y * log_s2.exp() + t2
        return Transformed(y.flatten(1), sum_log_scale((log_s1 + log_s2).flatten(1)))

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Transformed:
        """Invert the second half first."""
        y, first = y.unflatten(1, self.shape), self.mask.to(y.dtype)
        log_s2, t2 = self._affine(self.drive2, y * first, 1 - first, condition)
        x = (y - t2) * (-log_s2).exp()
        log_s1, t1 = self._affine(self.drive1, x * (1 - first), first, condition)
        x = (x - t1) * (-log_s1).exp()
        return Transformed(x.flatten(1), -sum_log_scale((log_s1 + log_s2).flatten(1)))


class _ConvSubnetwork(nn.Module):
    """Convolutions of the driving half and the condition, (B, C, H, W) to (B, 2C, H, W); the last starts at zero."""

    def __init__(self, channels: int, condition_dim: int, width: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.condition = nn.Conv2d(condition_dim, width, 1, bias=False) if condition_dim else None
        layers: list[nn.Module] = [nn.LeakyReLU(0.01)]
        for _ in range(depth):
            layers += [nn.Conv2d(width, width, 1), nn.LeakyReLU(0.01)]
        last = nn.Conv2d(width, 2 * channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        if last.bias is not None:
            nn.init.zeros_(last.bias)
        self.rest = nn.Sequential(*layers, last)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        h = self.first(x)
        if self.condition is not None:
            assert condition is not None, "this block was built with a condition"
            given = condition.to(x.dtype)
            maps = given if given.ndim == 4 else given[:, :, None, None]
            seen = self.condition(maps)
            h = h + (seen if given.ndim == 2 else F.interpolate(seen, x.shape[-2:], mode="bilinear"))
        out: Tensor = self.rest(h)
        return out.to(x.dtype)

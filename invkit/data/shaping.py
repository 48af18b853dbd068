"""Tensors of any form as images of one form: checked, in one order of axes, square."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from invkit.data.imageset import to_uint8
from invkit.errors import DataError

__all__ = ["as_maps", "checked", "resize_and_crop", "usual_side"]


def usual_side(side: int) -> int:
    """Return the side at which images of a side are explained: within what the built-in autoencoder takes."""
    return min(64, max(28, side))


def as_maps(pixels: Tensor) -> Tensor:
    """See an array as (N, 3, H, W), without a copy."""
    if pixels.ndim == 4 and pixels.shape[1] not in (1, 3) and pixels.shape[-1] in (1, 3):
        pixels = pixels.movedim(-1, 1)
    if pixels.ndim == 3:  # grey images
        pixels = pixels.unsqueeze(1)
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
        raise DataError(
            "Not an array of images",
            expected="(N, 3, H, W) or (N, H, W, 3); one channel or (N, H, W) for grey",
            got=f"shape {tuple(pixels.shape)}",
        )
    return pixels.expand(-1, 3, -1, -1)


def checked(pixels: Tensor, start: int = 0) -> Tensor:
    """Refuse what is not an image in range; `start` is the number of the first."""
    if pixels.dtype == torch.uint8 or pixels.numel() == 0:
        return pixels
    if not pixels.is_floating_point():
        raise DataError("Images of an unknown range", expected="uint8, or float in [0, 1]", got=pixels.dtype)
    bad = (~pixels.isfinite().flatten(1).all(1)).nonzero().flatten()
    if len(bad):
        raise DataError(
            "Images with NaN or infinity",
            expected="finite values in [0, 1]",
            got=f"{len(bad)} such images, the first at index {start + int(bad[0])}",
            hint="Leave them out.",
        )
    low, high = float(pixels.min()), float(pixels.max())
    if low < -1e-4 or high > 1 + 1e-4:
        raise DataError(
            "Images out of range",
            expected="float in [0, 1]",
            got=f"values from {low:.3g} to {high:.3g}",
            hint="Divide by 255, or undo the normalisation: the model's own belongs in `preprocess=`.",
        )
    return pixels.clamp(0, 1)


def resize_and_crop(pixels: Tensor, size: int | None) -> Tensor:
    """Scale the shorter side and crop the centre, so that images of several sizes go together."""
    height, width = pixels.shape[-2:]
    side = size or min(height, width)
    if (height, width) == (side, side):
        return pixels
    scale = side / min(height, width)
    shape = (max(side, round(height * scale)), max(side, round(width * scale)))
    values = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
    values = F.interpolate(values, shape, mode="bilinear", antialias=True).clamp(0, 1)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    cropped = values[..., top : top + side, left : left + side]
    return to_uint8(cropped) if pixels.dtype == torch.uint8 else cropped

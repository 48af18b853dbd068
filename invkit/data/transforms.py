"""Conversion of tensors to images (N, 3, S, S): validation, order of axes, resizing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from invkit.data.imageset import to_uint8
from invkit.errors import DataError

__all__ = ["default_size", "resize_and_crop", "to_nchw", "validated"]


def default_size(side: int) -> int:
    """Clamp a side in pixels to what the built-in autoencoder takes, 28 to 64."""
    return min(64, max(28, side))


def to_nchw(pixels: Tensor) -> Tensor:
    """View an array of images as (N, 3, H, W), without a copy.

    Raises:
        DataError: another shape.
    """
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


def validated(pixels: Tensor, start: int = 0) -> Tensor:
    """Return images clamped to [0, 1], if they exceed it only by rounding.

    Args:
        pixels: (N, 3, H, W).
        start: index of the first, for messages.

    Raises:
        DataError: another type, values that are not finite or out of range.
    """
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
            hint="Remove them.",
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
    """Resize images by the shorter side, bilinearly with antialiasing, and crop the centre.

    Args:
        pixels: (N, 3, H, W), uint8 or float in [0, 1].
        size: side of the result; None for the shorter side.

    Returns:
        (N, 3, size, size), of the same type.

    Example:
        >>> import torch
        >>> from invkit.data import resize_and_crop
        >>> resize_and_crop(torch.rand(2, 3, 40, 60), 28).shape
        torch.Size([2, 3, 28, 28])
    """
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

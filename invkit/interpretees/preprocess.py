"""From images in [0, 1] to the input of a network, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from invkit.errors import SettingsError

__all__ = ["IMAGENET", "Preprocess"]

#: shares of red, green and blue in the luma of ITU-R BT.601; they sum to 1
_LUMA = (0.299, 0.587, 0.114)
_Mode = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class Preprocess:
    """Resize the whole image, convert it to grey if the network takes one channel, then compute (x − mean) / std.

    Images are always (B, 3, H, W) in [0, 1]. For a network of one channel they are converted to grey as
    0.299 R + 0.587 G + 0.114 B (ITU-R BT.601, as `torchvision.transforms.Grayscale` does).

    Args:
        size: side in px, or (height, width); None keeps the size of the images.
        mean: one value for each channel of the network; zeros by default.
        std: one value > 0 for each channel of the network; ones by default.
        mode: interpolation, ``bilinear`` or ``bicubic`` (which may overshoot [0, 1] a little; it is clipped).
        channels: of the network's input, 1 or 3. None takes the number of values in `mean` and `std`, or 3.

    Attributes:
        size: as given.
        mean: a tuple of `channels` values.
        std: a tuple of `channels` values.
        mode: as given.
        channels: 1 or 3.

    Raises:
        SettingsError: a size or std that is not positive, a mean or std of another length, or neither 1 nor 3 channels.

    Example:
        >>> import torch
        >>> images = torch.rand(2, 3, 40, 40)
        >>> preprocess = Preprocess(size=32, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
        >>> preprocess(images).shape
        torch.Size([2, 3, 32, 32])

        A network of grey digits:

        >>> grey = Preprocess(size=28, mean=(0.1307,), std=(0.3081,))
        >>> grey.channels, grey(images).shape
        (1, torch.Size([2, 1, 28, 28]))
        >>> grey.inverse(grey(images)).shape
        torch.Size([2, 3, 28, 28])
    """

    size: int | tuple[int, int] | None = None
    mean: Sequence[float] = ()
    std: Sequence[float] = ()
    mode: _Mode = "bilinear"
    channels: int | None = field(default=None, repr=False)  # as many as mean has

    def __post_init__(self) -> None:
        if self.mode not in get_args(_Mode):
            raise SettingsError("Unknown mode of interpolation", expected="bilinear or bicubic", got=repr(self.mode))
        mean, std = _numbers("mean", self.mean), _numbers("std", self.std)
        channels = len(mean) or len(std) or 3 if self.channels is None else self.channels
        if channels not in (1, 3) or isinstance(channels, bool):
            raise SettingsError(
                "Preprocess makes 1 channel (grey) or 3 (red, green, blue)",
                expected="channels=1 or channels=3, with one mean and one std for each channel",
                got=f"{channels} channels",
                hint="For others pass `preprocess` a function of your own, from images (B, 3, H, W) in [0, 1] to the "
                "model's input.",
            )
        mean, std = mean or (0.0,) * channels, std or (1.0,) * channels
        for name, values in {"mean": mean, "std": std}.items():
            if len(values) != channels:
                raise SettingsError(
                    f"`{name}` has another number of values than there are channels",
                    expected=f"{channels} values" if channels > 1 else "1 value",
                    got=len(values),
                    hint="A network of grey images takes channels=1, and one mean and std.",
                )
        if min(std) <= 0:
            raise SettingsError("`std` must be positive", expected="values > 0", got=std)
        for name, value in {"size": _size(self.size), "mean": mean, "std": std, "channels": channels}.items():
            object.__setattr__(self, name, value)

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width in px of the network's input, or None for those of the images."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def __call__(self, images: Tensor) -> Tensor:
        """Prepare images (B, 3, H, W) in [0, 1] as (B, channels, height, width); shrinking is antialiased."""
        if self.shape is not None and images.shape[-2:] != self.shape:
            images = F.interpolate(images, self.shape, mode=self.mode, antialias=True).clamp(0, 1)
        if self.channels == 1:
            images = (images * self._of(_LUMA, images)).sum(-3, keepdim=True)
        return (images - self._of(self.mean, images)) / self._of(self.std, images)

    def inverse(self, inputs: Tensor) -> Tensor:
        """Return the images (B, 3, H, W) in [0, 1] of prepared ones, at the network's size.

        Those of a network of one channel are grey: three equal channels.
        """
        images = inputs * self._of(self.std, inputs) + self._of(self.mean, inputs)
        return images.repeat_interleave(3 // images.shape[-3], -3)

    @staticmethod
    def _of(values: Sequence[float], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1, 1)


def _size(size: Any) -> int | tuple[int, int] | None:
    sides = size if isinstance(size, (tuple, list)) else (size, size)
    if size is None or (len(sides) == 2 and all(type(side) is int and side > 0 for side in sides)):
        return tuple(size) if isinstance(size, list) else size
    raise SettingsError("Not a size of images", expected="px > 0, or (height, width)", got=repr(size))


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    try:
        found = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        found = (math.nan,)
    if all(map(math.isfinite, found)):
        return found
    raise SettingsError(
        f"`{name}` holds one number for each channel", expected="for instance (0.5,) or (0.5, 0.5, 0.5)", got=values
    )


#: what torchvision's weights of ImageNet expect, at the images' own size
IMAGENET = Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

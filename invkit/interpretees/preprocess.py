"""From images in [0, 1] to what a network was trained on, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["IMAGENET", "Preprocess"]


@dataclass(frozen=True)
class Preprocess:
    """Resize the whole image, then (x − mean) / std for each colour.

    Attributes:
        size: side in pixels, or (height, width); None leaves images as they are.
        mean: of red, green and blue.
        std: of red, green and blue.
        mode: of interpolation, ``bilinear`` or ``bicubic`` (which may overshoot [0, 1] a little; it is clipped).
    """

    size: int | tuple[int, int] | None = None
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    mode: Literal["bilinear", "bicubic"] = "bilinear"

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width in pixels, if they are fixed."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def __call__(self, images: Tensor) -> Tensor:
        """Prepare images (B, 3, H, W) in [0, 1]; shrinking is antialiased."""
        if self.shape is not None and images.shape[-2:] != self.shape:
            images = F.interpolate(images, self.shape, mode=self.mode, antialias=True).clamp(0, 1)
        return (images - self._of(self.mean, images)) / self._of(self.std, images)

    def inverse(self, inputs: Tensor) -> Tensor:
        """Return images in [0, 1] of prepared ones, at the network's size."""
        return inputs * self._of(self.std, inputs) + self._of(self.mean, inputs)

    @staticmethod
    def _of(values: tuple[float, float, float], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device).view(3, 1, 1)


#: what torchvision's weights of ImageNet expect, at the images' own size
IMAGENET = Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

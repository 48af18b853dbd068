"""Inversion of a layer by gradient descent over pixels (Mahendran & Vedaldi, 2015)."""

from __future__ import annotations

import torch
from torch import Tensor

from invkit.core import Interpretee
from invkit.utils.random import generator_for

__all__ = ["inverted", "total_variation"]


def total_variation(images: Tensor) -> Tensor:
    """Return the mean squared difference to the pixels below and to the right, (B,), of images (B, 3, S, S)."""
    down, right = images.diff(dim=2).square(), images.diff(dim=3).square()
    return down.flatten(1).mean(1) + right.flatten(1).mean(1)


def inverted(
    interpretee: Interpretee,
    layer: str,
    z: Tensor,
    size: int,
    *,
    steps: int = 150,
    rate: float = 0.05,
    variation: float = 30.0,
    norm: float = 0.1,
    seed: int = 0,
) -> Tensor:
    """Minimise ‖Φ(x̄) − z‖² / ‖z‖² + variation · TV(x̄) + norm · mean (2x̄ − 1)⁶ over pixels in [0, 1], by Adam.

    The initial image is grey noise. Source: Mahendran & Vedaldi, Understanding deep image representations by inverting
    them, CVPR 2015, eq. 2 to 4 with α = 6 and β = 2.

    Args:
        interpretee: Φ, with gradients.
        layer: address of the layer.
        z: a few representations, (B, …).
        size: side of the images in px.
        steps: number of steps.
        rate: learning rate, with cosine decay to 0.
        variation: weight of the total variation.
        norm: weight of the norm.
        seed: seed of the initial image.

    Returns:
        (B, 3, size, size).

    Raises:
        LayerError: the model has no gradients.
    """
    noise = torch.randn(len(z), 3, size, size, generator=generator_for(seed, "descent"))
    pixels = (0.5 + 0.05 * noise).clamp(0, 1).requires_grad_()
    optimizer = torch.optim.Adam([pixels], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    scale = z.flatten(1).square().sum(1).clamp(min=1e-12)
    for _ in range(steps):
        found = interpretee.features(pixels, [layer])[layer]
        distance = (found - z).flatten(1).square().sum(1) / scale
        large = (2 * pixels - 1).pow(6).flatten(1).mean(1)
        optimizer.zero_grad()
        torch.autograd.backward((distance + variation * total_variation(pixels) + norm * large).sum())
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            pixels.clamp_(0, 1)
    return pixels.detach()

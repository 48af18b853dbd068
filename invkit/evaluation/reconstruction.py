"""How well an autoencoder gives held-out images back, and what its prior draws look like."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from invkit.core import Autoencoder, Interpretee
from invkit.data import ImageSet, decode_all, encode_all
from invkit.evaluation.estimate import Estimate
from invkit.evaluation.frechet import frechet_distance
from invkit.interpretees import PerceptualDistance
from invkit.seeds import generator_for
from invkit.training import psnr

__all__ = ["Features", "reconstruction_figures"]

_BATCH = 64


@dataclass(frozen=True)
class Features:
    """A network's layer whose features a Fréchet distance is taken in; maps are averaged over positions.

    Attributes:
        interpretee: the network.
        layer: its address.
    """

    interpretee: Interpretee
    layer: str

    def of(self, images: Tensor) -> Tensor:
        """Give the features (B, C) of images (B, 3, S, S) in [0, 1]."""
        parts = [self.interpretee.represent(part, [self.layer])[self.layer] for part in images.split(_BATCH)]
        return torch.cat([z.flatten(2).mean(2) if z.ndim == 4 else z.flatten(1) for z in parts])


@torch.no_grad()
def reconstruction_figures(
    autoencoder: Autoencoder,
    data: ImageSet,
    *,
    perceptual: PerceptualDistance | None = None,
    features: Features | None = None,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Compare held-out images with D(E_μ(x)), and with images that codes of the prior make.

    Args:
        autoencoder: E and D.
        data: held-out images.
        perceptual: gives the figure `perceptual`.
        features: gives `frechet of reconstructions` and `frechet of prior samples`.
        seed: of the codes that are drawn.

    Returns:
        `psnr` in dB, `ssim` (Wang et al., 2004) and the others by name.
    """
    codes = encode_all(autoencoder, data).mean
    seen = decode_all(autoencoder, codes)
    images = data.images()
    values = {
        "psnr": psnr(images, seen),
        "ssim": structural_similarity_index_measure(seen, images, data_range=1.0, reduction="none"),
    }
    if perceptual is not None:
        pairs = zip(images.split(_BATCH), seen.split(_BATCH), strict=True)
        values["perceptual"] = torch.cat([perceptual(a, b) for a, b in pairs])
    figures = {name: _mean(v) for name, v in values.items() if isinstance(v, Tensor)}
    if features is not None:
        drawn = torch.randn(codes.shape, generator=generator_for(seed, "prior samples"))
        made = decode_all(autoencoder, drawn)
        real = features.of(images)
        figures["frechet of reconstructions"] = frechet_distance(real, features.of(seen))
        figures["frechet of prior samples"] = frechet_distance(real, features.of(made))
    return figures


def _mean(values: Tensor) -> Estimate:
    return Estimate(float(values.mean()), float(values.std() / len(values) ** 0.5), len(values))

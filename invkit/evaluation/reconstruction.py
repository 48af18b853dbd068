"""Quality of an autoencoder: reconstructions of held-out images, and samples of the prior."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from invkit.core import Autoencoder, Estimate
from invkit.data import ImageSet, decode_all, encode_all
from invkit.evaluation.estimate import mean_estimate
from invkit.evaluation.features import Features
from invkit.evaluation.frechet import frechet_distance
from invkit.interpretees import PerceptualDistance
from invkit.utils.random import generator_for

__all__ = ["psnr", "reconstruction_metrics"]

_BATCH, _DECODED = 64, 1024  # batch sizes of comparisons and of features


def psnr(images: Tensor, others: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each pair of images in [0, 1], in dB, (B,).

    Example:
        >>> import torch
        >>> psnr(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.1))
        tensor([20.])
    """
    return -10 * (images - others).square().flatten(1).mean(1).clamp(min=1e-10).log10()


@torch.no_grad()
def reconstruction_metrics(
    autoencoder: Autoencoder,
    data: ImageSet,
    *,
    distances: Mapping[str, PerceptualDistance] | None = None,
    features: Features | None = None,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Compare held-out images with their reconstructions D(E_μ(x)), and with images decoded from the prior.

    Args:
        autoencoder: E and D.
        data: held-out images.
        distances: further distances by name, for instance LPIPS: functions of two batches of images (B, 3, S, S) that
            return (B,).
        features: a network's layer, for `frechet of reconstructions` and `frechet of prior samples`.
        seed: of the codes drawn from the prior.

    Returns:
        `psnr` in dB, `ssim` (Wang et al., 2004) and the others by name.

    Example:
        >>> metrics = reconstruction_metrics(explanation.autoencoder, explanation.held_out.data)
        >>> list(metrics)
        ['psnr', 'ssim']
    """
    codes = encode_all(autoencoder, data).mean
    measures: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"psnr": psnr, "ssim": _ssim, **(distances or {})}
    measured: dict[str, list[Tensor]] = {name: [] for name in measures}
    for rows in torch.arange(len(data)).split(_BATCH):
        images, seen = data.images(rows), decode_all(autoencoder, codes[rows])
        for name, measure in measures.items():
            measured[name].append(measure(images, seen))
    metrics = {name: mean_estimate(torch.cat(parts), data.groups) for name, parts in measured.items()}
    if features is not None:
        drawn = torch.randn(codes.shape, generator=generator_for(seed, "prior samples"))
        real = features.of(data)
        seen, made = (_features_decoded(features, autoencoder, each) for each in (codes, drawn))
        metrics["frechet of reconstructions"] = frechet_distance(real, seen, data.groups)
        metrics["frechet of prior samples"] = frechet_distance(real, made, (data.groups, None), independent=True)
    return metrics


def _features_decoded(features: Features, autoencoder: Autoencoder, codes: Tensor) -> Tensor:
    return torch.cat([features.of(decode_all(autoencoder, part)) for part in codes.split(_DECODED)])


def _ssim(images: Tensor, others: Tensor) -> Tensor:
    found = structural_similarity_index_measure(others, images, data_range=1.0, reduction="none")
    assert isinstance(found, Tensor)
    return found

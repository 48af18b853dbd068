"""Dequantisation of class embeddings by a VAE (table S17): a flow cannot fit the density of 1,000 points."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invkit.core import Posterior
from invkit.errors import DataError
from invkit.training import FitSettings, Task, fit
from invkit.utils.random import generator_for, seeded

__all__ = ["DequantizerTask", "EmbeddingVAE", "train_dequantizer"]

_SLOPE = 0.01  # of LReLU


def _mlp(dim: int, width: int, hidden: int) -> nn.Sequential:
    """`hidden` times (FC, LReLU) of `width`, then FC back to `dim`, which is left linear to reach negative values.

    Weights start as He et al. (2015) have it: with torch's default thirteen such layers pass hardly any signal on, and
    after the same 300 steps the error was eight times as large.
    """
    sizes = [dim] + [width] * hidden
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [_linear(a, b, _SLOPE), nn.LeakyReLU(_SLOPE)]
    return nn.Sequential(*layers, _linear(width, dim, 1.0))


def _linear(a: int, b: int, slope: float) -> nn.Linear:
    layer = nn.Linear(a, b)
    nn.init.kaiming_normal_(layer.weight, slope)
    nn.init.zeros_(layer.bias)
    return layer


class EmbeddingVAE(nn.Module):
    """The VAE of table S17: encoder 128 → 3 × `width` → 128, a net alike for μ and for σ², decoder with 4 × `width`.

    Embeddings are centred and divided by one scale. The output is normal with the fixed standard deviation `noise`:
    with a learned one the VAE would learn the 1,000 points by heart and undo what it is for.

    Args:
        dim: dimension of the embedding and of the latent.
        width: width of the hidden layers; 4096 in the paper (156 million parameters).
        noise: standard deviation of the output, relative to the scale of the embeddings.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, dim: int = 128, width: int = 4096, noise: float = 0.1) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"dim": dim, "width": width, "noise": noise}
        self.noise = noise
        self.encoder = nn.Sequential(_mlp(dim, width, 3), nn.LeakyReLU(_SLOPE))
        self.to_mean, self.to_log_variance = _mlp(dim, width, 3), _mlp(dim, width, 3)
        self.decoder = _mlp(dim, width, 4)
        self.register_buffer("center", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(()))

    def fit_scale(self, embeddings: Tensor) -> None:
        """Set centre and scale from the embeddings (K, dim)."""
        self.center.copy_(embeddings.mean(0))
        self.scale.copy_((embeddings - self.center).square().mean().sqrt())

    def encode(self, embeddings: Tensor) -> Posterior:
        """Return the distribution of latents of embeddings (B, dim); log σ² is bounded softly to (−14, 6)."""
        features = self.encoder((embeddings - self.center) / self.scale)
        log_variance = 10 * torch.tanh((self.to_log_variance(features) + 4) / 10) - 4
        return Posterior(self.to_mean(features), (0.5 * log_variance).exp())

    def decode(self, latents: Tensor) -> Tensor:
        """Return the mean embeddings (B, dim) of latents (B, dim)."""
        return self.decoder(latents) * self.scale + self.center

    @torch.no_grad()
    def dequantize(self, embeddings: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a value near each embedding (B, dim): encode, draw a latent, decode, add noise."""
        mean = self.decode(self.encode(embeddings).sample(generator))
        return mean + self.noise * self.scale * _normal(mean, generator)

    def loss(self, embeddings: Tensor, generator: torch.Generator) -> Tensor:
        """Return the mean negative evidence bound, −log p(h | latent) + KL, in nats per (scaled) dimension."""
        posterior = self.encode(embeddings)
        error = ((self.decode(posterior.sample(generator)) - embeddings) / self.scale).square().mean() / self.noise**2
        kl = posterior.kl().mean()
        return 0.5 * (error + math.log(2 * math.pi * self.noise**2)) + kl


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw standard normal values for any device from a CPU generator, so that results do not depend on the device."""
    return torch.randn(like.shape, generator=generator).to(like)


class DequantizerTask(Task):
    """Train the VAE on the embeddings of all classes, which are also its validation data: there are no others.

    Args:
        module: the VAE.
        embeddings: (K, dim).
    """

    def __init__(self, module: EmbeddingVAE, embeddings: Tensor) -> None:
        self.title, self.module, self.rows = "dequantiser", module, len(embeddings)
        self._embeddings = embeddings

    def loss(self, module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of some classes in nats per dimension."""
        assert isinstance(module, EmbeddingVAE)
        return module.loss(self._embeddings[rows.to(self._embeddings.device)], generator)

    def validation_loss(self, module: nn.Module) -> float:
        """Return the loss of all classes, with the same noise at every call."""
        assert isinstance(module, EmbeddingVAE)
        return float(module.loss(self._embeddings, generator_for(0, "held-out")))


def train_dequantizer(
    embeddings: Tensor,
    *,
    width: int = 4096,
    noise: float = 0.1,
    settings: FitSettings | None = None,
    path: Path | None = None,
    seed: int = 0,
) -> EmbeddingVAE:
    """Train the VAE of table S17, or load it if the file is there.

    Args:
        embeddings: (K, dim), for instance ``decoder.embeddings``.
        width: width of the hidden layers; 256 to 512 is quick on a CPU.
        noise: see :class:`EmbeddingVAE`.
        settings: None for 3,000 steps.
        path: file to store it in, see :func:`invkit.training.fit`.
        seed: seed of all random numbers.

    Raises:
        DataError: embeddings of another shape.
        TrainingError: training diverged.
    """
    embeddings = embeddings.detach()
    if embeddings.ndim != 2 or len(embeddings) < 2:
        raise DataError("These are no class embeddings", expected="(K, dim), K ≥ 2", got=tuple(embeddings.shape))
    settings = settings or FitSettings(steps=3000, batch_size=256)
    with seeded(seed, "build", "dequantiser"):
        vae = EmbeddingVAE(embeddings.shape[1], width, noise)
    vae.fit_scale(embeddings)
    task = DequantizerTask(vae.to(embeddings.device), embeddings)
    fit(task, settings, path=path, seed=seed)
    return vae.requires_grad_(False)

"""Inversion of a layer by a decoder that regresses the image (Dosovitskiy & Brox, 2016)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invkit.autoencoders import AutoencoderSettings, BigAutoencoder, ConvAutoencoder, ImageMetric
from invkit.autoencoders.build import build_autoencoder, perceptual_of
from invkit.core import Autoencoder, Embedder
from invkit.data import ImageSet, Rows, evenly_spaced
from invkit.explainer import Explainer
from invkit.flows import InvarianceFlow, embedder_for
from invkit.training import Task, fit
from invkit.utils import distributed
from invkit.utils.random import generator_for, seeded
from invkit.utils.resources import rows_in_memory

__all__ = ["RegressionTask", "Regressor", "regress", "trained_regressor"]

_WIDTH = 1024  # of hidden layers, and largest number of directions of z
_SOME, _HELD_OUT, _BATCH = 4096, 512, 64


class Regressor(nn.Module):
    """A map from z̃ to an image: an embedding of z̃, then the autoencoder's decoder for codes of that size.

    If many images share a representation, the mean image minimises the squared error, so that what the layer discards
    is blurred.

    Args:
        embedder: from z̃ to (B, latent_dim).
        decoder: an autoencoder; its E is not used.
    """

    def __init__(self, embedder: Embedder, decoder: Autoencoder) -> None:
        super().__init__()
        self.embedder, self.decoder = embedder, decoder

    def forward(self, z_seen: Tensor) -> Tensor:
        """Return images (B, 3, S, S) in [0, 1] of z̃ (B, …)."""
        code = F.leaky_relu(self.embedder(z_seen), 0.2)
        return self.decoder.decode(code.unflatten(1, self.decoder.latent_shape))


def decoder_like(autoencoder: Autoencoder, settings: AutoencoderSettings, latent_dim: int) -> Autoencoder:
    """Build a new decoder for codes of `latent_dim`, of the autoencoder's class if it is built in, else by settings."""
    if isinstance(autoencoder, (ConvAutoencoder, BigAutoencoder)):
        built: Autoencoder = type(autoencoder)(**{**autoencoder.config, "latent_dim": latent_dim})
    else:
        built = build_autoencoder(replace(settings, latent_dim=latent_dim), autoencoder.image_size)
    for name in ("encoder", "to_posterior", "trunk"):
        if hasattr(built, name):
            setattr(built, name, nn.Identity())  # E is neither trained nor kept
    return built


class RegressionTask(Task):
    """Minimise the image metric between x and the regressor's image of z̃: the autoencoder's loss without KL.

    Args:
        module: the regressor.
        see: function from z and a generator to z̃: :meth:`InvarianceFlow.perceive`.
        data: training images and their z.
        held_out: held-out images and their z.
        metric: metric of images; None for squared errors.
        title: shown with the progress.

    Attributes:
        metric: as above; it may be set until training begins.
    """

    def __init__(
        self,
        module: Regressor,
        see: Callable[[Tensor, torch.Generator], Tensor],
        data: tuple[ImageSet, Rows],
        held_out: tuple[ImageSet, Rows],
        metric: ImageMetric | None = None,
        title: str = "Dosovitskiy & Brox's decoder",
    ) -> None:
        self.title, self.module, self.rows = title, module, len(data[0])
        self._see, self._data, self.metric = see, data, metric or ImageMetric()
        rows = evenly_spaced(len(held_out[0]), rows_in_memory(_HELD_OUT, held_out[1].shape[1:]))
        self._judged = (held_out[0].images(rows), held_out[1][rows])

    def loss(self, module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return −log p(x | z) in nats per image value, at the metric's maximum-likelihood scale."""
        images, z = self._data
        return self._nll(module, images.images(rows), self._see(z[rows], generator))

    def _nll(self, module: nn.Module, images: Tensor, z_seen: Tensor) -> Tensor:
        device = next(module.parameters()).device
        terms = self.metric.terms(images.to(device), module(z_seen.to(device)))
        return self.metric.nll(torch.stack([*terms.values()]).sum())

    def validation_loss(self, module: nn.Module) -> float:
        """Return the loss of held-out images."""
        generator, total = generator_for(0, "held-out"), 0.0
        images, z = self._judged
        for x, part in zip(images.split(_BATCH), z.split(_BATCH), strict=True):
            total += float(self._nll(module, x, self._see(part, generator))) * len(x) / len(images)
        return total


def trained_regressor(
    explainer: Explainer,
    t: InvarianceFlow,
    z: tuple[Rows, Rows],
    settings: AutoencoderSettings,
    key: str,
    title: str,
    latent_dim: int = 4096,
) -> Regressor:
    """Train the regressor of a layer, or load it from the cache.

    It reads z̃ with the noise floor, as t does, by a wider H.

    Args:
        explainer: a fitted Explainer.
        t: flow of the layer.
        z: representations of training and of held-out images.
        settings: settings of the autoencoder's training; the regressor has neither KL nor discriminator.
        key: hash of all that decides z.
        title: shown with the progress.
        latent_dim: width of the embedding; the paper's is 4096.

    Raises:
        ArtefactError: the weights of the metric's network are not available.
        LayerError: no embedder for z's shape.
    """
    shape = tuple(t.mean.shape)
    with seeded(explainer.seed, "build", "regressor", title):
        embedder = embedder_for(shape, latent_dim, width=_WIDTH)
        module = Regressor(embedder, decoder_like(explainer.autoencoder, settings, latent_dim))
    path = explainer.path("regressor", key, asdict(settings), latent_dim, explainer.settings.noise_floor, title)
    task = RegressionTask(module, t.perceive, (explainer.train_copies, z[0]), (explainer.held_out, z[1]), title=title)

    def begin() -> None:
        rows = torch.randperm(len(z[0]), generator=generator_for(explainer.seed, "initialise"))
        embedder.initialize((z[0][rows[: rows_in_memory(_SOME, shape)]] - t.mean) / t.scale, t.noise)
        device = distributed.device()
        module.to(device)
        task.metric = ImageMetric(settings.pixel, perceptual_of(settings, device), settings.perceptual_weight)

    fit(task, settings.fit, path=path, seed=explainer.seed, on_begin=begin, strict=True)
    return module.cpu()


@torch.no_grad()
def regress(module: Regressor, t: InvarianceFlow, z: Rows, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Return the regressor's images (M, 3, S, S) of some rows (M,) of representations z."""
    module.eval()
    return torch.cat([module(t.perceive(z[part], generator)) for part in rows.split(_BATCH)])

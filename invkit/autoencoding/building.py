"""From settings to an autoencoder with its initial weights, and to the metric that it is trained by."""

from __future__ import annotations

from dataclasses import replace

import torch

from invkit.autoencoders import BigAutoencoder, ConvAutoencoder
from invkit.core import Autoencoder
from invkit.errors import ArtefactError, PluginError, SettingsError
from invkit.interpretees import ModuleInterpretee, PerceptualDistance, load_model
from invkit.seeds import seeded
from invkit.settings import AutoencoderSettings

__all__ = ["build_autoencoder", "check_size", "perceptual_of"]


def build_autoencoder(settings: AutoencoderSettings, size: int, seed: int = 0) -> Autoencoder:
    """Build an autoencoder of some settings for images of `size` px; its weights hang on the seed.

    Raises:
        SettingsError: a size that the architecture does not make.
        ArtefactError: the encoder's weights cannot be had.
    """
    if settings.architecture == "conv":
        with seeded(seed, "build", "autoencoder"):
            return ConvAutoencoder(size, settings.latent_dim, settings.width)
    if settings.architecture != "big":
        raise SettingsError("No such architecture", expected="conv or big", got=settings.architecture)
    with seeded(seed, "build", "autoencoder"):
        big = BigAutoencoder(size, settings.latent_dim, settings.width, settings.encoder)
    if settings.encoder_weights != "random":
        trained = load_model(f"torchvision:{settings.encoder}", weights=_named(settings.encoder_weights))
        assert isinstance(trained, ModuleInterpretee)
        own = {k: v for k, v in trained.module.state_dict().items() if not k.startswith("fc.")}
        big.trunk.load_state_dict(own, strict=False)
    return big


def _named(weights: str) -> str | None:
    return None if weights == "DEFAULT" else weights


def check_size(settings: AutoencoderSettings | None, size: int) -> None:
    """Refuse a size that the settings' architecture does not make, before anything is read.

    Raises:
        SettingsError: it does not.
    """
    with torch.device("meta"):
        build_autoencoder(replace(settings or AutoencoderSettings.for_images(size), encoder_weights="random"), size)


def perceptual_of(settings: AutoencoderSettings) -> PerceptualDistance | None:
    """Give the perceptual distance that settings name, None where they name none.

    Raises:
        ArtefactError: LPIPS's network has no weights here; says what else there is.
    """
    if settings.perceptual == "none":
        return None
    try:
        return PerceptualDistance.lpips()
    except (ArtefactError, PluginError) as error:
        raise ArtefactError(
            "LPIPS needs VGG-16's weights, which cannot be had",
            expected="torchvision's weights of vgg16, or another metric",
            got=str(error),
            hint="Train by pixels alone (perceptual='none' in the settings, `--perceptual none`), or by features of a "
            "network that you have (PerceptualDistance(model, layers), `--perceptual MODEL --perceptual-layers A,B`).",
        ) from error

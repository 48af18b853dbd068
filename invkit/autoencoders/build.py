"""Build the autoencoder and the image metric that settings describe."""

from __future__ import annotations

import torch

from invkit.autoencoders.big import BigAutoencoder
from invkit.autoencoders.conv import ConvAutoencoder
from invkit.autoencoders.settings import AutoencoderSettings
from invkit.core import Autoencoder
from invkit.errors import ArtefactError, PluginError, SettingsError
from invkit.interpretees import ModuleInterpretee, PerceptualDistance, load_model
from invkit.utils.random import seeded

__all__ = ["build_autoencoder", "check_size", "load_encoder", "perceptual_of"]


def build_autoencoder(settings: AutoencoderSettings, size: int, seed: int = 0) -> Autoencoder:
    """Build an untrained autoencoder for images of `size` px.

    Args:
        settings: the architecture.
        size: side of the images in px.
        seed: of the random weights.

    Raises:
        SettingsError: the architecture does not exist, or does not make images of that size.

    Example:
        >>> import invkit
        >>> build_autoencoder(invkit.AutoencoderSettings(latent_dim=16, width=8), size=32).latent_shape
        (16,)
    """
    if settings.architecture == "conv":
        with seeded(seed, "build", "autoencoder"):
            return ConvAutoencoder(size, settings.latent_dim, settings.width)
    if settings.architecture != "big":
        raise SettingsError("No such architecture", expected="conv or big", got=settings.architecture)
    with seeded(seed, "build", "autoencoder"):
        return BigAutoencoder(size, settings.latent_dim, settings.width, settings.encoder)


def load_encoder(autoencoder: Autoencoder, settings: AutoencoderSettings) -> None:
    """Load the weights that settings name into the trunk of the encoder.

    Raises:
        ArtefactError: they are not available; the message names alternatives.
    """
    if settings.encoder_weights == "random" or not isinstance(autoencoder, BigAutoencoder):
        return
    weights = None if settings.encoder_weights == "DEFAULT" else settings.encoder_weights
    try:
        trained = load_model(f"torchvision:{settings.encoder}", weights=weights)
    except (ArtefactError, PluginError) as error:
        raise ArtefactError(
            f"The encoder starts from weights of {settings.encoder}, which are not available",
            expected="torchvision's weights, a file of them, or random ones",
            got=str(error),
            hint="Set encoder_weights='random' or to a file in the settings, or `--encoder-weights`.",
        ) from error
    assert isinstance(trained, ModuleInterpretee)
    own = {name: value for name, value in trained.module.state_dict().items() if not name.startswith("fc.")}
    autoencoder.trunk.load_state_dict(own, strict=False)


def check_size(settings: AutoencoderSettings | None, size: int) -> None:
    """Check that the architecture makes images of that size, without building its weights.

    Args:
        settings: None for those that suit the size.
        size: side of the images in px.

    Raises:
        SettingsError: it does not.

    Example:
        >>> check_size(None, 28)
    """
    with torch.device("meta"):
        build_autoencoder(settings or AutoencoderSettings.for_images(size), size)


def perceptual_of(settings: AutoencoderSettings, device: torch.device) -> PerceptualDistance | None:
    """Return the perceptual distance that settings name, with its network on a device; None if they name none.

    Raises:
        ArtefactError: the weights of LPIPS's network are not available; the message names alternatives.
    """
    if settings.perceptual == "none":
        return None
    try:
        return PerceptualDistance.lpips(device=device)
    except (ArtefactError, PluginError) as error:
        raise ArtefactError(
            "LPIPS needs VGG-16's weights, which are not available",
            expected="torchvision's weights of vgg16, or another metric",
            got=str(error),
            hint="Train by pixels alone (perceptual='none' in the settings, `--perceptual none`), or by features of a "
            "network that you have (PerceptualDistance(model, layers), `--perceptual MODEL --perceptual-layers A,B`).",
        ) from error

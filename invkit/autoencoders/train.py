"""`invkit.train_autoencoder`: check the input, train, and measure."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from invkit.autoencoders.build import check_size
from invkit.autoencoders.fit import device_of, fit_autoencoder, key_of
from invkit.autoencoders.settings import AutoencoderSettings
from invkit.autoencoders.sheet import examples
from invkit.autoencoders.trained import TrainedAutoencoder
from invkit.data import ImageSet, as_image_set, to_uint8
from invkit.errors import ArtefactError, DataError, PluginError
from invkit.evaluation import Features, reconstruction_metrics
from invkit.interpretees import PerceptualDistance

__all__ = ["train_autoencoder"]

_LEAST = 32  # training images


def train_autoencoder(
    data: Any,
    *,
    size: int | None = None,
    held_out: Any = None,
    groups: Any = None,
    settings: AutoencoderSettings | str | None = None,
    perceptual: PerceptualDistance | None = None,
    features: Features | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
    sheets: str | Path | None = None,
    device: str | torch.device | None = None,
) -> TrainedAutoencoder:
    """Train an autoencoder of images: the E and D of every explanation on them.

    Args:
        data: images, as in :func:`invkit.explain`.
        size: side of the images in px; None for their own, at most 64, or 128 with the preset `paper`.
        held_out: images to evaluate on; None holds out 15 % of the data.
        groups: group of each image; the images of a group are either all trained on or all held out.
        settings: settings, or the name of a preset: `default`, `tiny`, `small`, `paper`; None chooses by the size.
        perceptual: a distance over layers of a network of your choice, in place of the settings'.
        features: a network's layer for Fréchet distances; None for no such metrics.
        seed: of every random draw.
        cache: folder of the weights, from which :func:`invkit.explain` loads them, and from which an interrupted run
            resumes; None keeps nothing.
        sheets: folder for a picture at each evaluation: held-out images, reconstructions, samples of the prior.
        device: where to train; None for a GPU, if any.

    Returns:
        The autoencoder with its held-out metrics.

    Raises:
        DataError: images cannot be used, or are too few.
        SettingsError: settings do not fit the images.
        ArtefactError: weights that the settings ask for are not available.
        TrainingError: training diverged.

    Example:
        >>> import torch, invkit
        >>> settings = invkit.AutoencoderSettings(latent_dim=8, width=4, fit=invkit.FitSettings(steps=2, batch_size=8))
        >>> trained = invkit.train_autoencoder(torch.rand(48, 3, 28, 28), settings=settings)
        >>> trained.autoencoder.latent_shape, trained.result.steps
        ((8,), 2)
    """
    chosen = AutoencoderSettings.preset(settings) if isinstance(settings, str) else settings
    if size is None and isinstance(settings, str) and not isinstance(data, ImageSet):
        size = AutoencoderSettings.size_of(settings)
    where = device_of(device)
    if size is not None:
        check_size(chosen, size)
    images = as_image_set(data, size=size, groups=groups)
    train, test = images.split(0.15, seed) if held_out is None else (images, held_out)
    test = as_image_set(test, size=train.size)
    if len(train) < _LEAST or len(test) < 4:
        raise DataError(
            "Too few images for an autoencoder",
            expected=f"at least {_LEAST} to train on and 4 held out; thousands for a good one",
            got=f"{len(train)} and {len(test)}",
        )
    chosen = chosen or AutoencoderSettings.for_images(train.size)
    if features is not None:
        features.of(test.images(slice(2)))  # raises now if the layer does not exist
    if perceptual is not None:
        perceptual(test.images(slice(2)), test.images(slice(2)))
    autoencoder, result = fit_autoencoder(
        train,
        test,
        chosen,
        key=key_of(train, test, seed)[0],
        perceptual=perceptual,
        seed=seed,
        cache=None if cache is None else Path(cache),
        sheets=None if sheets is None else Path(sheets),
        device=where,
    )
    distances = _distances(perceptual)
    metrics = reconstruction_metrics(autoencoder, test, distances=distances, features=features, seed=seed)
    protocol = {
        "training images": len(train),
        "held-out images": len(test),
        "seed": seed,
        "perceptual distance": None
        if perceptual is None
        else [perceptual.interpretee.fingerprint(), *perceptual.layers],
        "Fréchet distances in": None if features is None else [features.interpretee.fingerprint(), features.layer],
        "settings": asdict(chosen),
        "versions": {name: version(name) for name in ("invkit", "torch", "torchvision")},
    }
    return TrainedAutoencoder(autoencoder, metrics, result, to_uint8(examples(test)), protocol)


def _distances(perceptual: PerceptualDistance | None) -> dict[str, PerceptualDistance]:
    """Return the user's distance, if any, and LPIPS if VGG-16's weights are on this machine."""
    found = {} if perceptual is None else {"perceptual": perceptual}
    with suppress(ArtefactError, PluginError):
        found["lpips"] = PerceptualDistance.lpips(local_files_only=True)
    return found

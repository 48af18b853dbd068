"""Train an autoencoder, or load from the cache the one that was trained before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from invkit.autoencoders.build import build_autoencoder, load_encoder, perceptual_of
from invkit.autoencoders.discriminator import PatchDiscriminator
from invkit.autoencoders.metric import ImageMetric
from invkit.autoencoders.settings import AutoencoderSettings
from invkit.autoencoders.sheet import examples, sheet
from invkit.autoencoders.task import AutoencoderTask
from invkit.core import Autoencoder
from invkit.data import ImageSet
from invkit.errors import SettingsError
from invkit.interpretees import PerceptualDistance
from invkit.report.figures import write_png
from invkit.training import FitResult, fit
from invkit.utils import distributed
from invkit.utils.io import content_hash
from invkit.utils.progress import log
from invkit.utils.random import seeded

__all__ = ["device_of", "file_of", "fit_autoencoder", "key_of"]


def key_of(train: ImageSet, held_out: ImageSet, seed: int) -> tuple[str, list[str]]:
    """Return the hash of everything beside the settings that determines an autoencoder, and each image set's hash.

    Example:
        >>> import torch
        >>> images = ImageSet(torch.zeros(4, 3, 28, 28))
        >>> key, (train, held_out) = key_of(images, images, seed=0)
        >>> len(key), train == held_out
        (16, True)
    """
    pixels = [part.fingerprint(with_concepts=False) for part in (train, held_out)]
    return content_hash(pixels, seed, version("invkit")), pixels


def fit_autoencoder(
    train: ImageSet,
    held_out: ImageSet,
    settings: AutoencoderSettings,
    *,
    key: str,
    perceptual: PerceptualDistance | None = None,
    seed: int = 0,
    cache: Path | None = None,
    sheets: Path | None = None,
    device: str | torch.device | None = None,
) -> tuple[Autoencoder, FitResult]:
    """Train an autoencoder on images, or load the one that was trained on them with the same settings.

    One that is loaded needs no weights of VGG-16 or of a ResNet.

    Args:
        train: training images.
        held_out: validation images.
        settings: architecture, image metric and training.
        key: of the images, by :func:`key_of`.
        perceptual: a distance in place of the settings'.
        seed: of every random draw.
        cache: folder of the weights and checkpoints; None keeps nothing.
        sheets: folder for a picture at each evaluation; None for none.
        device: where to train; None for a GPU, if any.

    Returns:
        The autoencoder in evaluation mode, and how training went.

    Raises:
        ArtefactError: weights that the settings ask for are not available, or a file cannot be written.
        TrainingError: training diverged.
        SettingsError: the architecture does not make images of that size, or there is no such device.

    Example:
        >>> import torch, invkit
        >>> images = ImageSet(torch.rand(16, 3, 28, 28))
        >>> settings = AutoencoderSettings(latent_dim=8, width=4, fit=invkit.FitSettings(steps=2, batch_size=8))
        >>> autoencoder, result = fit_autoencoder(images, images, settings, key=key_of(images, images, seed=0)[0])
        >>> autoencoder.latent_shape, result.steps
        ((8,), 2)
    """
    where = device_of(device)
    path = None if cache is None else file_of(settings, key, cache, perceptual)
    autoencoder, task = _untrained(train, held_out, settings, seed, where)

    def begin() -> None:
        _make_trainable(autoencoder, task, settings, perceptual)
        count = sum(p.numel() for p in autoencoder.parameters()) / 1e6
        kind = type(autoencoder).__name__
        once = ", once for every explanation on these images" if path is not None else ""
        log(
            f"autoencoder: {kind} at {train.size} px, {count:.1f} million parameters; "
            f"{settings.fit.steps} steps on {where.type}{once}"
        )

    result = fit(
        task,
        settings.fit,
        path=path,
        seed=seed,
        on_begin=begin,
        on_evaluate=_sheet_writer(sheets, held_out),
    )
    return autoencoder.eval(), result


def file_of(settings: AutoencoderSettings, key: str, cache: Path, perceptual: PerceptualDistance | None = None) -> Path:
    """Return the file of an autoencoder, named by a hash of everything that determines its weights.

    Args:
        settings: of the autoencoder.
        key: of the images, by :func:`key_of`.
        cache: its folder.
        perceptual: a distance in place of the settings'.

    Example:
        >>> file_of(AutoencoderSettings(), "0123456789abcdef", Path("cache")).suffix
        '.safetensors'
    """
    name = content_hash(
        key, asdict(settings), _content(settings.encoder_weights), perceptual and perceptual.fingerprint()
    )
    return cache / f"autoencoder-{name}.safetensors"


def _untrained(
    train: ImageSet, held_out: ImageSet, settings: AutoencoderSettings, seed: int, where: torch.device
) -> tuple[Autoencoder, AutoencoderTask]:
    """Build an autoencoder and its task without pretrained weights: enough to load trained ones."""
    autoencoder, critic = build_autoencoder(settings, train.size, seed), None
    if settings.discriminator:
        with seeded(seed, "build", "discriminator"):
            critic = PatchDiscriminator().to(where)
    return autoencoder, AutoencoderTask(
        autoencoder.to(where),
        train,
        held_out,
        critic=critic,
        critic_from=settings.discriminator_from,
        kl_weight=settings.kl_weight,
        augment=settings.augment,
    )


def _make_trainable(
    autoencoder: Autoencoder,
    task: AutoencoderTask,
    settings: AutoencoderSettings,
    perceptual: PerceptualDistance | None,
) -> None:
    """Load the encoder's pretrained weights and the network of the metric."""
    load_encoder(autoencoder, settings)
    perceptual = perceptual or perceptual_of(settings, autoencoder.device)
    task.metric = ImageMetric(settings.pixel, perceptual, settings.perceptual_weight)


def device_of(device: str | torch.device | None) -> torch.device:
    """Return the device of that name, or this process's GPU, if any.

    Raises:
        SettingsError: this machine has no such device.
    """
    try:
        where = torch.device(device or distributed.device())
        torch.empty(1, device=where)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError("No such device here", expected="cpu, or cuda where there is a GPU", got=device) from error
    return where


def _content(weights: str) -> str:
    """Return the hash of a file of weights, or the name of weights as it is."""
    file = Path(weights)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else weights


def _sheet_writer(folder: Path | None, held_out: ImageSet) -> Callable[[int, nn.Module], None] | None:
    """Return a callback that writes reconstructions and prior samples as a picture at each evaluation."""
    if folder is None:
        return None
    images = examples(held_out)

    def write(step: int, module: nn.Module) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        rows = torch.stack(sheet(AutoencoderTask.autoencoder_in(module), images))
        write_png(folder / f"step-{step:07d}.png", [rows])

    return write

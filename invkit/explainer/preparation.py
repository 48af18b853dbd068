"""What stands before any long work: images are read, layers tried, the cost told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from invkit.autoencoders import check_size
from invkit.core import Autoencoder, Interpretee
from invkit.data import ImageSet, as_image_set, check_finite, expect_room
from invkit.errors import LayerError, SettingsError
from invkit.explainer import Groundwork, check_data, is_begun, lay_groundwork
from invkit.flows import Embedder
from invkit.interpretees import ModuleInterpretee
from invkit.settings import Settings, expect_settings

__all__ = ["addresses_in", "prepare", "read_held_out", "read_images"]


def read_images(
    data: Any,
    autoencoder: Autoencoder | None,
    settings: Settings | str | None,
    *,
    size: int | None = None,
    concepts: Mapping[str, Any] | str | Path | None = None,
    groups: Any = None,
) -> ImageSet:
    """Read images at the size that their autoencoder is of, or can be.

    Args:
        data: this and all others as in :func:`invkit.explain`.
        autoencoder: a trained one.
        settings: as of :func:`invkit.explain`.
        size: side of the images in pixels.
        concepts: labels by name.
        groups: of images that stay together.

    Raises:
        SettingsError: no such settings, a size that is not the autoencoder's, or that none can be trained for.
        DataError: as :func:`invkit.as_image_set`.
    """
    expect_settings(settings)
    if autoencoder is None and size is not None:
        check_size(settings.autoencoder if isinstance(settings, Settings) else None, size)
    elif autoencoder is not None:
        if size not in (None, autoencoder.image_size):
            raise SettingsError(
                "The autoencoder makes images of another size",
                expected=f"{autoencoder.image_size} px",
                got=f"{size} px",
            )
        size = autoencoder.image_size
    return as_image_set(data, size=size, concepts=concepts, groups=groups)


def prepare(
    subjects: Sequence[tuple[Interpretee, Sequence[str]]],
    images: ImageSet,
    *,
    held_out: ImageSet | None = None,
    autoencoder: Autoencoder | None = None,
    embedder: Embedder | None = None,
    factor_sizes: Mapping[str, int] | None = None,
    settings: Settings | str | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
    whole: bool = False,
) -> Groundwork:
    """Try all layers on two images, say what the work will take, and lay the groundwork.

    Args:
        subjects: models, each with the addresses of its layers.
        images: all of them, or those to train on; this and all others as of :func:`lay_groundwork`.
        held_out: images to judge by.
        autoencoder: a trained one.
        embedder: H.
        factor_sizes: dimensions of e by concept.
        settings: as of :func:`invkit.explain`.
        seed: of every draw.
        cache: folder of trained parts.
        whole: as of :func:`lay_groundwork`.

    Raises:
        InvkitError: as :func:`explain`.
    """
    settings = Settings.of(settings, images)
    shared: dict[str, Any] = {"held_out": held_out, "autoencoder": autoencoder, "settings": settings}
    check_data(images, **shared, factor_sizes=factor_sizes, seed=seed)
    sizes = [_check_layers(interpretee, layers, images, embedder, settings) for interpretee, layers in subjects]
    folder = None if cache is None else Path(cache)
    if folder is None or not is_begun(images, **shared, seed=seed, cache=folder):
        # else latents may be there, and those that are not are checked for room soon enough
        test = max(1, round(settings.held_out * len(images))) if held_out is None else len(held_out)
        train = len(images) - test if held_out is None else len(images)
        # without a cache those of a model go before the next
        of_an_image = max(sizes, default=0) if cache is None else sum(sizes)
        expect_room((train * settings.copies + test) * of_an_image, folder)
    return lay_groundwork(images, **shared, factor_sizes=factor_sizes, seed=seed, cache=cache, whole=whole)


def addresses_in(interpretee: Interpretee, layers: Sequence[str | nn.Module]) -> list[str]:
    """Return the addresses that names, modules and globs stand for in a model."""
    if isinstance(interpretee, ModuleInterpretee):
        return interpretee.expand(layers)
    return [layer if isinstance(layer, str) else str(layer) for layer in layers]


def _check_layers(
    interpretee: Interpretee, layers: Sequence[str], images: ImageSet, embedder: Embedder | None, settings: Settings
) -> int:
    """Run the model on the first two images and build H, so that a bad layer is told before any long work.

    Returns:
        bytes of all representations of one image.
    """
    size = 0
    for layer, z in interpretee.represent(images.images(slice(2)), layers).items():
        if z.ndim < 2 or len(z) != min(2, len(images)):
            raise LayerError(
                f"The output at '{layer}' has no batch axis",
                expected="(B, …), one representation for each image",
                got=f"shape {tuple(z.shape)} for 2 images",
            )
        check_finite(f"The representation at '{layer}'", z)
        shape = tuple(z.shape[1:])
        size += 4 * math.prod(shape)
        if embedder is None:
            with torch.device("meta"):
                settings.t.build_embedder(shape, code=2)
        elif tuple(embedder.config["shape"]) != shape:
            raise SettingsError(
                f"The embedder does not fit the layer '{layer}'", expected=shape, got=tuple(embedder.config["shape"])
            )
    return size


def read_held_out(given: Any, images: ImageSet) -> ImageSet | None:
    """Read images to judge by at the size of those to train on; None where none are given.

    Raises:
        DataError: as :func:`invkit.as_image_set`.
    """
    return None if given is None else as_image_set(given, size=images.size)

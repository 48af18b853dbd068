"""What is given: taken apart, and refused before any work where nothing can be made of it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from invkit.autoencoders import AutoencoderSettings
from invkit.core import Autoencoder
from invkit.data import Generated, ImageSet
from invkit.errors import DataError, SettingsError
from invkit.settings import Settings

__all__ = ["check_data", "known_autoencoder", "parts", "with_residual"]

_ENOUGH = 64  # training images at least


def check_data(
    images: ImageSet,
    *,
    held_out: ImageSet | None,
    autoencoder: Autoencoder | None,
    factor_sizes: Mapping[str, int] | None,
    settings: Settings,
    seed: int,
) -> None:
    """Refuse, before any work, what no groundwork can be laid on; all as of :func:`lay_groundwork`.

    Raises:
        DataError: too few images, or held-out ones with other concepts or classes.
        SettingsError: codes of no known form, or factors that do not fit into them.
    """
    test = int(images.held_out_mask(settings.held_out, seed).sum()) if held_out is None else len(held_out)
    train = len(images) - test if held_out is None else len(images)
    if train < _ENOUGH or test < 2:
        raise DataError(
            "Too few images to explain a layer",
            expected=f"at least {_ENOUGH} to train on and 2 held out; 2,000 and more for metrics to rely on",
            got=f"{train} and {test}",
        )
    if held_out is not None:
        held_out.match_classes(images)
    autoencoder = known_autoencoder(autoencoder, images)
    if autoencoder is not None and len(autoencoder.latent_shape) not in (1, 3):
        raise SettingsError(
            "This autoencoder's codes are neither vectors nor maps",
            expected="latent_shape (N,) or (C, H, W)",
            got=autoencoder.latent_shape,
        )
    chosen = settings.autoencoder or AutoencoderSettings.for_images(images.size)
    dim = chosen.latent_dim if autoencoder is None else math.prod(autoencoder.latent_shape)
    _check_factors(images, factor_sizes, dim)


def _check_factors(images: ImageSet, factor_sizes: Mapping[str, int] | None, dim: int) -> None:
    """Check sizes that are given, and that those to be estimated leave room for the residual."""
    sizes = with_residual(factor_sizes or dict.fromkeys(images.concepts, 1), dim)
    unknown = sizes.keys() - images.concepts.keys() - {"residual"}
    if unknown:
        raise SettingsError(
            f"No labels for {', '.join(sorted(unknown))}", expected=f"sizes for {', '.join(images.concepts) or 'none'}"
        )
    if sum(sizes.values()) != dim or min(sizes.values()) < 1:
        fewer = "smaller `factor_sizes`" if factor_sizes else "fewer concepts"
        raise SettingsError(
            "The factors do not fit into the code",
            expected=f"sizes of 1 or more, {dim} with the residual",
            got=", ".join(f"{name}: {size}" for name, size in sizes.items())[:200],
            hint=f"Give {fewer}, or a larger `latent_dim` in the settings.",
        )


def parts(images: ImageSet, held_out: ImageSet | None, settings: Settings, seed: int) -> tuple[ImageSet, ImageSet]:
    """Return images to train on and to judge by: those that are given, or a share of all."""
    return images.split(settings.held_out, seed) if held_out is None else (images, held_out)


def with_residual(sizes: Mapping[str, int], dim: int) -> dict[str, int]:
    """Return sizes of all of e's factors, the residual first: it fills what the others leave of the code."""
    return {"residual": dim - sum(size for name, size in sizes.items() if name != "residual"), **sizes}


def known_autoencoder(autoencoder: Autoencoder | None, images: ImageSet) -> Autoencoder | None:
    """Return the autoencoder that was handed over, or that made the images; None where one is to be trained."""
    made = images.pixels.autoencoder if isinstance(images.pixels, Generated) else None
    return made if autoencoder is None else autoencoder

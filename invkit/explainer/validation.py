"""Validate inputs before any long work: images, autoencoder, factor sizes, layers, disk space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from invkit.autoencoders import AutoencoderSettings, as_autoencoder, check_size
from invkit.core import Autoencoder, Interpretee
from invkit.data import Generated, ImageSet, as_image_set, check_finite, color_digits
from invkit.errors import DataError, InvkitError, LayerError, SettingsError
from invkit.interpretees import ModuleInterpretee
from invkit.settings import Settings
from invkit.utils.progress import log

__all__ = [
    "check_factors",
    "check_images",
    "check_layers",
    "default_images",
    "find_layers",
    "known_autoencoder",
    "one_layer",
    "read_images",
    "with_residual",
]

_ENOUGH = 64  # training images at least
_GENERATED = 20_000  # images of a generator
_SIDES = (28, 32, 64)  # of ColorDigits, in px: those whose autoencoder a CPU trains in minutes
_COPIES, _FEW_COPIES, _LARGE = 20, 4, 96  # of each digit; of each for models that see images of 96 px or more


def read_images(
    data: Any,
    autoencoder: Autoencoder | None,
    settings: Settings | str | None,
    *,
    size: int | None,
    concepts: Mapping[str, Any] | str | Path | None,
    groups: Any,
) -> ImageSet:
    """Read images at the size of their autoencoder, or at one that an autoencoder can be trained for.

    Raises:
        SettingsError: `size` is not the autoencoder's, or no autoencoder can be trained for it.
        DataError: as :func:`invkit.as_image_set`.
    """
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


def default_images(
    subjects: Sequence[tuple[Interpretee, Sequence[str]]], autoencoder: Any = None, size: int | None = None
) -> tuple[ImageSet, ImageSet | None]:
    """Return built-in images for models, if the user has none: a generator's own, else ColorDigits.

    ColorDigits are as small as all layers allow, 28, 32 or 64 px, and fewer for models that see large images.

    Returns:
        training images, and held-out images; None for the latter where they are to be drawn from the former.

    Raises:
        LayerError: none of these sizes suits the models.
    """
    generator = as_autoencoder(autoencoder)
    if generator is not None and not generator.has_encoder:
        log(f"no images given: explaining on {_GENERATED:,} images of the generator, {generator.image_size} px")
        own = getattr(generator, "image_set", None)
        if own is not None:
            return own(_GENERATED), None
        codes = torch.randn(_GENERATED, *generator.latent_shape, generator=torch.Generator().manual_seed(0))
        return ImageSet(Generated(generator, codes)), None
    sides = _SIDES if size is None else (size,)
    side = _smallest(subjects, sides) if generator is None else generator.image_size
    large = any(max(i.input_shape or (0,)) >= _LARGE for i, _ in subjects)
    train = color_digits("train", copies=_FEW_COPIES if large else _COPIES, size=side)
    test = color_digits("test", copies=_FEW_COPIES, size=side)
    log(f"no images given: explaining on the built-in ColorDigits, {len(train) + len(test):,} images of {side} px")
    return train, test


def _smallest(subjects: Sequence[tuple[Interpretee, Sequence[str]]], sides: Sequence[int]) -> int:
    """Return the first side in px at which all layers of all models give a usable output."""
    for side in sides:
        digits = color_digits("test", copies=1, size=side)
        try:
            for interpretee, layers in subjects:
                shapes = check_layers(interpretee, layers, digits, Settings())
                if any(math.prod(shape) == 0 for shape in shapes.values()):
                    raise LayerError(f"Empty representations at {side} px")
        except (InvkitError, RuntimeError) as error:
            reason = error
        else:
            return side
    if isinstance(reason, InvkitError):
        raise reason
    raise LayerError(
        "The model does not take images of the built-in ColorDigits",
        expected=f"a model that runs at {', '.join(map(str, sides))} px",
        got=str(reason).partition("\n")[0][:200],
        hint="Pass preprocess=invkit.Preprocess(size=224) for a model of a fixed input size, or images of your own.",
    ) from reason


def known_autoencoder(autoencoder: Autoencoder | None, images: ImageSet) -> Autoencoder | None:
    """Return the autoencoder that was passed, or the one that made the images; None if one has to be trained."""
    made = images.pixels.autoencoder if isinstance(images.pixels, Generated) else None
    return made if autoencoder is None else autoencoder


def check_images(train: ImageSet, held_out: ImageSet, autoencoder: Autoencoder | None) -> None:
    """Raise an error if images or codes do not allow an explanation.

    Raises:
        DataError: too few images.
        SettingsError: codes that are neither vectors nor maps.
    """
    if len(train) < _ENOUGH or len(held_out) < 2:
        raise DataError(
            "Too few images to explain a layer",
            expected=f"at least {_ENOUGH} to train on and 2 held out; 2,000 and more for reliable metrics",
            got=f"{len(train)} and {len(held_out)}",
        )
    if autoencoder is not None and len(autoencoder.latent_shape) not in (1, 3):
        raise SettingsError(
            "This autoencoder's codes are neither vectors nor maps",
            expected="latent_shape (N,) or (C, H, W)",
            got=autoencoder.latent_shape,
        )


def check_factors(images: ImageSet, settings: Settings, autoencoder: Autoencoder | None) -> None:
    """Raise an error if the factor sizes do not fit the code, or would leave no dimension for the residual.

    Raises:
        SettingsError: sizes of unknown concepts, below 1, or too large in sum.
    """
    chosen = settings.autoencoder or AutoencoderSettings.for_images(images.size)
    dim = chosen.latent_dim if autoencoder is None else math.prod(autoencoder.latent_shape)
    given = settings.factor_sizes
    sizes = with_residual(given or dict.fromkeys(images.concepts, 1), dim)
    unknown = sizes.keys() - images.concepts.keys() - {"residual"}
    if unknown:
        raise SettingsError(
            f"No labels for {', '.join(sorted(unknown))}", expected=f"sizes for {', '.join(images.concepts) or 'none'}"
        )
    if sum(sizes.values()) != dim or min(sizes.values()) < 1:
        fewer = "smaller `factor_sizes`" if given else "fewer concepts"
        raise SettingsError(
            "The factors do not fit into the code",
            expected=f"sizes of 1 or more, {dim} with the residual",
            got=", ".join(f"{name}: {size}" for name, size in sizes.items())[:200],
            hint=f"Give {fewer}, or a larger `latent_dim` in the settings.",
        )


def with_residual(sizes: Mapping[str, int], dim: int) -> dict[str, int]:
    """Return the sizes of all factors of e, the residual first: it takes what the others leave of the code."""
    return {"residual": dim - sum(size for name, size in sizes.items() if name != "residual"), **sizes}


def find_layers(interpretee: Interpretee, layers: str | nn.Module | Sequence[str | nn.Module]) -> list[str]:
    """Return the addresses that names, modules and globs stand for.

    Raises:
        LayerError: an unknown layer.
    """
    wanted = [layers] if isinstance(layers, (str, nn.Module)) else list(layers)
    if isinstance(interpretee, ModuleInterpretee):
        return interpretee.expand(wanted)
    return [layer if isinstance(layer, str) else str(layer) for layer in wanted]


def one_layer(interpretee: Interpretee, layer: str | nn.Module) -> str:
    """Return the address of a single layer.

    Raises:
        LayerError: an unknown layer, or a glob of several.
    """
    addresses = find_layers(interpretee, layer)
    if len(addresses) != 1:
        raise LayerError(
            f"'{layer}' names several layers",
            expected="one layer",
            got=", ".join(addresses),
            hint="invkit.profile explains several at once.",
        )
    return addresses[0]


def check_layers(
    interpretee: Interpretee, layers: Sequence[str], images: ImageSet, settings: Settings
) -> dict[str, tuple[int, ...]]:
    """Run the model on the first two images and build H for each layer.

    Returns:
        shape of one image's representation, by layer.

    Raises:
        LayerError: a layer without a batch axis, with values that are not finite, or without an embedder H.
    """
    shapes = {}
    for layer, z in interpretee.represent(images.images(slice(2)), layers).items():
        if z.ndim < 2 or len(z) != min(2, len(images)):
            raise LayerError(
                f"The output at '{layer}' has no batch axis",
                expected="(B, …), one representation for each image",
                got=f"shape {tuple(z.shape)} for 2 images",
            )
        check_finite(f"The representation at '{layer}'", z)
        shapes[layer] = tuple(z.shape[1:])
        with torch.device("meta"):
            settings.t.build_embedder(shapes[layer], code=2)
    return shapes

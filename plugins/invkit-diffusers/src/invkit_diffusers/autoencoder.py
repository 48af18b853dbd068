"""A network of diffusers as an autoencoder of invkit."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from invkit.core import Autoencoder, Posterior
from invkit.errors import DataError, SettingsError
from invkit_diffusers.codes import CODES

__all__ = ["DiffusersAutoencoder"]

_PIXELS = 2**18  # batch size in pixels: 64 images of 64 px, 4 of 256 px; a map of 128 channels then takes 128 MiB


class DiffusersAutoencoder(Autoencoder):
    """AutoencoderKL, AutoencoderTiny or VQModel of diffusers, with codes that are maps (C, S / f, S / f).

    The networks are convolutional, so that one works at any side that is a multiple of f, though best at about the
    one that it was trained at. Codes have about unit variance; see :mod:`invkit_diffusers.codes` for how, and for the
    deviation of each class. Large batches are worked on in parts.

    Args:
        module: the live network, which is used as it is and not copied; or its config with its `_class_name`, as
            diffusers saves it, for one with random weights.
        image_size: S, side of the images in pixels.

    Attributes:
        network: the network of diffusers.

    Raises:
        SettingsError: a network of another class or not of RGB images, or a side that does not fit.
    """

    def __init__(self, module: nn.Module | Mapping[str, Any], image_size: int) -> None:
        super().__init__()
        self.network = network = _live(module)
        class_name = _class_name(network)
        self.codes = CODES[class_name]
        options: Mapping[str, Any] = network.config
        _check_colours(class_name, options)
        side = _side(image_size, *self.codes.factors(options))
        self.image_size, self.latent_shape = image_size, (self.codes.channels(options), side, side)
        kept = inspect.signature(type(network).__init__).parameters.keys() & options.keys()
        plain = json.loads(json.dumps({name: options[name] for name in sorted(kept)}))
        self.config = {"module": {"_class_name": class_name, **plain}, "image_size": image_size}

    def encode(self, images: Tensor) -> Posterior:
        """Return the distribution of codes (B, C, S / f, S / f), float32, of images (B, 3, S, S) in [0, 1].

        Raises:
            DataError: images of another shape.
        """
        _check_shape("images", images, (3, self.image_size, self.image_size))
        shift, scale = self._shift_and_scale(images)
        parts = [
            self.codes.posterior(self.network, (2 * part - 1).to(self.network.dtype))
            for part in images.split(self._at_once)
        ]
        mean, std = torch.cat([part.mean for part in parts]), torch.cat([part.std for part in parts])
        return Posterior((mean.float() - shift) * scale, std.float() * scale)

    def decode(self, latents: Tensor) -> Tensor:
        """Return the images (B, 3, S, S), float32 in [0, 1], of codes (B, C, S / f, S / f); differentiable.

        A VQModel quantises the codes first; its gradient is as if it did not.

        Raises:
            DataError: codes of another shape.
        """
        _check_shape("codes", latents, self.latent_shape)
        shift, scale = self._shift_and_scale(latents)
        raw = (latents / scale + shift).to(self.network.dtype)
        images = torch.cat([self.network.decode(part).sample for part in raw.split(self._at_once)])
        return (images.float() / 2 + 0.5).clamp(0, 1)

    @property
    def _at_once(self) -> int:
        return max(1, _PIXELS // self.image_size**2)

    def _shift_and_scale(self, like: Tensor) -> tuple[Tensor, Tensor]:
        shift, scale = self.codes.shift_and_scale(self.network.config)
        return shift.to(like.device), scale.to(like.device)


def _live(module: nn.Module | Mapping[str, Any]) -> Any:
    """Return a module as it is, or build it from a config."""
    if not isinstance(module, Mapping):
        return module
    name = module.get("_class_name")
    if name not in CODES:
        raise SettingsError(
            "This config is of no autoencoder that is known here",
            expected=f"`_class_name` {' or '.join(CODES)}",
            got=name,
        )
    return getattr(diffusers, str(name)).from_config(dict(module))


def _class_name(network: Any) -> str:
    names = [parent.__name__ for parent in type(network).__mro__ if parent.__name__ in CODES]
    if not names:
        raise SettingsError(
            "This is no autoencoder that is known here",
            expected=f"{', '.join(CODES)} of diffusers, or the config of one",
            got=type(network).__name__,
        )
    return names[0]


def _check_colours(class_name: str, options: Mapping[str, Any]) -> None:
    channels = options["in_channels"], options["out_channels"]
    if channels != (3, 3):
        raise SettingsError(f"This {class_name} is not of RGB images", expected="3 channels in and out", got=channels)


def _side(image_size: int, down: int, up: int) -> int:
    """Return the side of the codes."""
    if down != up:
        raise SettingsError(
            "This network makes images of another size than it takes",
            expected="a decoder that enlarges as often as the encoder halves",
            got=f"a factor of {down} down and of {up} up",
        )
    if image_size < 1 or image_size % down:
        low = image_size - image_size % down
        raise SettingsError(
            "The network cannot halve images of this side as often as it does",
            expected=f"a multiple of {down}, for instance {max(low, down)} or {max(low, down) + down}",
            got=f"{image_size} px",
        )
    return image_size // down


def _check_shape(what: str, given: Tensor, shape: tuple[int, ...]) -> None:
    if given.ndim != 4 or given.shape[1:] != shape:
        raise DataError(
            f"These are no {what} of this autoencoder",
            expected=f"(B, {', '.join(map(str, shape))})",
            got=tuple(given.shape),
        )

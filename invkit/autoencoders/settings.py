"""The settings of an autoencoder: architecture, image metric, training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from invkit.errors import SettingsError
from invkit.training import FitSettings

__all__ = ["DEFAULT_MAX_SIZE", "TINY_MAX_SIZE", "AutoencoderSettings", "is_photograph"]

DEFAULT_MAX_SIZE, TINY_MAX_SIZE = 32, 64  # largest image sides in px of the presets `default` and `tiny`


@dataclass(frozen=True)
class AutoencoderSettings:
    """The architecture of an autoencoder, its image metric, and its training; the default is for small images.

    Attributes:
        architecture: `conv`, table S1, 28 to 64 px; or `big`, table S7, 32, 64, 128 px and more.
        latent_dim: N, dimension of the code z̄.
        width: channels of the first convolution (`conv`), or of the generator's last block at 128 px (`big`).
        encoder: torchvision's name of the ResNet in `big`.
        encoder_weights: of that ResNet: `random`, or weights as for invkit-torchvision (`DEFAULT`, a file).
        pixel: `l2`, squared errors, or `l1`, magnitudes.
        perceptual: `lpips` adds VGG-16 with LPIPS's heads to the pixels; `none` does not.
        perceptual_weight: of that distance.
        discriminator: whether a discriminator is trained too.
        discriminator_from: step from which it contributes to the loss.
        kl_weight: of the KL divergence; 1 is the paper's.
        augment: flip and crop training images at random.
        fit: training.

    Example:
        >>> AutoencoderSettings(latent_dim=16).width
        64
        >>> AutoencoderSettings.for_images(64) == AutoencoderSettings.tiny()
        True
    """

    architecture: Literal["conv", "big"] = "conv"
    latent_dim: int = 64
    width: int = 64
    encoder: str = "resnet101"
    encoder_weights: str = "random"
    pixel: Literal["l1", "l2"] = "l2"
    perceptual: Literal["none", "lpips"] = "none"
    perceptual_weight: float = 1.0
    discriminator: bool = False
    discriminator_from: int = 0
    kl_weight: float = 1.0
    augment: bool = False
    fit: FitSettings = FitSettings(steps=1200, batch_size=64, learning_rate=2e-3, evaluate_every=200, precision="auto")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AutoencoderSettings:
        """Return the settings of which `dataclasses.asdict` made these values, also after JSON."""
        return cls(**{**values, "fit": FitSettings.from_dict(values["fit"])})

    @classmethod
    def tiny(cls) -> AutoencoderSettings:
        """Return settings for photographs of 33 to 64 px, minutes on a CPU: table S1, 256 dimensions, squared errors.

        The paper's 128 dimensions suit a perceptual metric; with squared errors, animals become hard to tell apart.
        """
        fit = replace(cls().fit, steps=1600, weight_decay=0.01, evaluate_every=100)
        return cls(latent_dim=256, augment=True, fit=fit)

    @classmethod
    def small(cls) -> AutoencoderSettings:
        """Return settings for photographs of 64 or 128 px, hours on a GPU: table S7 with a third of its width."""
        return replace(
            cls.paper(),
            width=32,
            encoder="resnet50",
            discriminator_from=20_000,
            fit=replace(cls.paper().fit, steps=60_000, batch_size=32, learning_rate=2e-4),
        )

    @classmethod
    def paper(cls) -> AutoencoderSettings:
        """Return tables S7 and S4, for 128 px: weeks on a GPU.

        The paper does not state steps and rates. Rate, momenta and batch size are those of its flows; the steps are
        about as many as of the released weights (631,606 and more).
        """
        return cls(
            architecture="big",
            latent_dim=128,
            width=96,
            encoder="resnet101",
            encoder_weights="DEFAULT",
            pixel="l1",
            perceptual="lpips",
            discriminator=True,
            discriminator_from=50_000,
            augment=True,
            fit=replace(FitSettings.paper(), steps=600_000, ema=0.999, evaluate_every=2000, patience=300),
        )

    @classmethod
    def preset(cls, name: str) -> AutoencoderSettings:
        """Return a preset by name: `default`, `tiny`, `small` or `paper`.

        Raises:
            SettingsError: another name.
        """
        presets: dict[str, Callable[[], AutoencoderSettings]]
        presets = {"default": cls, "tiny": cls.tiny, "small": cls.small, "paper": cls.paper}
        if name not in presets:
            raise SettingsError("No such preset of an autoencoder", expected=", ".join(presets), got=name)
        return presets[name]()

    @staticmethod
    def size_of(preset: str | None) -> int | None:
        """Return the image side in px that a preset requires; None if it takes images of any size."""
        return 128 if preset == "paper" else None

    @classmethod
    def for_images(cls, size: int) -> AutoencoderSettings:
        """Choose a preset by the images' side in px: the default up to 32, `tiny` up to 64, `small` beyond."""
        return cls() if not is_photograph(size) else cls.tiny() if size <= TINY_MAX_SIZE else cls.small()


def is_photograph(size: int) -> bool:
    """Whether images of that side in px are treated as photographs, which may be flipped and cropped."""
    return size > DEFAULT_MAX_SIZE

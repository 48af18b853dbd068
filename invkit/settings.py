"""All that decides an autoencoder or an explanation beside the data and the seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from invkit.data import Generated, ImageSet
from invkit.errors import SettingsError
from invkit.flows import FlowSettings
from invkit.training import FitSettings

__all__ = ["PRESETS", "AutoencoderSettings", "Settings", "expect_settings"]

#: names that stand for settings
PRESETS = ("few", "quick", "paper")

_PLENTY = 6000  # photographs for flows of the default's width
_SEEN, _COPIES = 18_000, 24  # images with the copies of fewer, and most copies of one
_DIGITS, _TINY = 32, 64  # sides in px up to which images are small, and photographs small enough for a CPU

#: training of flows in the authors' code
_AUTHORS = FitSettings(
    steps=250_000, batch_size=16, learning_rate=7.2e-5, betas=(0.5, 0.9), evaluate_every=1000, patience=250
)


@dataclass(frozen=True)
class AutoencoderSettings:
    """The architecture of an autoencoder, what it is judged by, and its training; the default is for small images.

    Attributes:
        architecture: `conv`, table S1, 28 to 64 px; or `big`, table S7, 32, 64, 128 px and more.
        latent_dim: N, dimension of the code z̄.
        width: channels of the first convolution (`conv`), or of the generator's last block at 128 px (`big`).
        encoder: torchvision's name of the ResNet in `big`.
        encoder_weights: of that ResNet: `random`, or what invkit-torchvision takes for it (`DEFAULT`, a file).
        pixel: `l2`, squared errors, or `l1`, magnitudes.
        perceptual: `lpips`, VGG-16 with LPIPS's heads, beside the pixels; or none.
        perceptual_weight: of that distance.
        discriminator: whether there is one.
        discriminator_from: step from which it counts.
        kl_weight: of the KL divergence; 1 is the paper's.
        augment: mirror and crop training images.
        fit: training.
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
    fit: FitSettings = FitSettings(steps=1200, batch_size=64, learning_rate=2e-3, evaluate_every=200, bf16=True)

    @classmethod
    def tiny(cls) -> AutoencoderSettings:
        """Give one of photographs of 33 to 64 px for a CPU, in minutes: table S1 with 256 dimensions, squared errors.

        The paper's 128 dimensions go with a metric that knows what matters; by squared errors they leave animals that
        are hard to tell apart.
        """
        fit = replace(cls().fit, steps=1600, weight_decay=0.01, evaluate_every=100)
        return cls(latent_dim=256, augment=True, fit=fit)

    @classmethod
    def small(cls) -> AutoencoderSettings:
        """Give one of photographs of 64 or 128 px for a GPU, in hours: table S7 with a third of its width."""
        return replace(
            cls.paper(),
            width=32,
            encoder="resnet50",
            discriminator_from=20_000,
            fit=replace(cls.paper().fit, steps=60_000, batch_size=32, learning_rate=2e-4),
        )

    @classmethod
    def paper(cls) -> AutoencoderSettings:
        """Give tables S7 and S4, for 128 px: a GPU's work of weeks.

        The paper leaves steps and rates open. Rate, momenta and batch are those of its flows, steps about as many as of
        the released weights (631,606 and more).
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
            fit=replace(_AUTHORS, steps=600_000, ema=0.999, evaluate_every=2000, patience=300),
        )

    @classmethod
    def preset(cls, name: str) -> AutoencoderSettings:
        """Give a preset by name: `default`, `tiny`, `small` or `paper`.

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
        """Give the side in px of the images that a preset is made for, None where it takes them as they are."""
        return 128 if preset == "paper" else None

    @classmethod
    def for_images(cls, size: int) -> AutoencoderSettings:
        """Choose a preset by the images' side in px: the default up to 32, `tiny` up to 64, `small` beyond."""
        return cls() if not _is_photograph(size) else cls.tiny() if size <= _TINY else cls.small()


def _is_photograph(size: int) -> bool:
    """Whether images of that side in px are taken for photographs, which may be mirrored and cropped."""
    return size > _DIGITS


@dataclass(frozen=True)
class Settings:
    """All that decides an explanation beside the data and the seed.

    Attributes:
        autoencoder: how one is trained where none is given; None chooses by the images' size.
        noise_floor: standard deviation of the noise on z, relative to z's total; what it hides counts as thrown
            away (:class:`InvarianceFlow`).
        held_out: share of the images that nothing is trained on.
        amortised: one t for all layers of a model that are explained together, each with an H of its own, trained for
            half as many steps as all of theirs would take (docs/benchmarks.md has how well).
        copies: how often t and e see each training image, each but the first time mirrored and cropped anew.
        rho: correlation ρ of a shared concept (eq. 11).
        t: architecture of the conditional flow.
        e: architecture of the semantic flow.
        fit_t: training of t.
        fit_anchors: training of e towards its concepts (:class:`AnchorTask`).
        fit_e: training of e on pairs, from there.
    """

    autoencoder: AutoencoderSettings | None = None
    noise_floor: float = 0.003
    held_out: float = 0.15
    copies: int = 1
    amortised: bool = False
    rho: float = 0.9
    t: FlowSettings = FlowSettings()
    e: FlowSettings = FlowSettings()
    fit_t: FitSettings = FitSettings(steps=450, batch_size=512, learning_rate=3e-3, weight_decay=0.3, bf16=True)
    fit_anchors: FitSettings = FitSettings(steps=900, batch_size=512, learning_rate=3e-3, weight_decay=0.5, bf16=True)
    fit_e: FitSettings = FitSettings(
        steps=100, batch_size=256, learning_rate=1e-4, weight_decay=0.1, evaluate_every=50, bf16=True
    )

    @classmethod
    def of(cls, chosen: Settings | str | None, images: ImageSet) -> Settings:
        """Give settings as they are; those of a preset, `quick`, `few` or `paper`; or for None what suits the images.

        Raises:
            SettingsError: no such preset.
        """
        expect_settings(chosen)
        if isinstance(chosen, Settings):
            return chosen
        if chosen is None:
            return cls.for_images(images)
        if chosen == "quick":
            return cls.quick(images)
        return cls.few() if chosen == "few" else cls.paper()

    @classmethod
    def for_images(cls, images: ImageSet) -> Settings:
        """Choose by the images' size and number: few photographs (over 32 px) need :meth:`few`."""
        count = len(images)
        if isinstance(images.pixels, Generated) or not _is_photograph(images.size) or count >= _PLENTY:
            return cls()
        return cls.few(max(1, min(_COPIES, _SEEN // count)))

    @classmethod
    def few(cls, copies: int = _COPIES) -> Settings:
        """Give settings for some hundreds or thousands of photographs, of which wide flows learn too much by heart."""
        default = cls()
        flow = FlowSettings(n_flow=3, width=128, depth=0)
        slower: dict[str, Any] = {"learning_rate": 1e-3, "weight_decay": 1.0, "evaluate_every": 25}
        return replace(
            default,
            copies=copies,
            t=flow,
            e=flow,
            fit_t=replace(default.fit_t, **slower),
            fit_anchors=replace(default.fit_anchors, **slower),
            fit_e=replace(default.fit_e, weight_decay=1.0, evaluate_every=25),
        )

    @classmethod
    def quick(cls, images: ImageSet | None = None) -> Settings:
        """Give a first look in some minutes, for images of 64 px at most; the figures are rough.

        Args:
            images: whom the settings suit but for their few steps; None for small images, as digits.
        """
        suited, few = cls() if images is None else cls.for_images(images), 200
        autoencoder = AutoencoderSettings.for_images(_DIGITS if images is None else min(images.size, _TINY))
        return replace(
            suited,
            autoencoder=replace(autoencoder, fit=replace(autoencoder.fit, steps=2 * few)),
            copies=min(2, suited.copies),
            fit_t=replace(suited.fit_t, steps=few),
            fit_anchors=replace(suited.fit_anchors, steps=few),
            fit_e=replace(suited.fit_e, steps=few // 4),
        )

    @classmethod
    def tiny(cls) -> Settings:
        """Give the whole recipe in seconds, for tests; the figures mean nothing."""
        few = FitSettings(steps=12, batch_size=32, learning_rate=1e-3, evaluate_every=6)
        flow = FlowSettings(n_flow=2, width=16, map_width=8)
        autoencoder = AutoencoderSettings(latent_dim=12, fit=few)
        return cls(autoencoder=autoencoder, t=flow, e=flow, fit_t=few, fit_e=few, fit_anchors=few)

    @classmethod
    def paper(cls) -> Settings:
        """Give the paper's flows (table S10), with rate, momenta, batch and steps of the authors' code.

        Other than there, the rate warms up and falls (cosine), gradients are clipped and weights averaged. A CPU takes
        days. The autoencoder is chosen by the size; for tables S7 and S4 set `autoencoder` to
        :meth:`AutoencoderSettings.paper`.
        """
        return cls(t=FlowSettings.paper(), e=FlowSettings.paper(12, 512, 2), fit_t=_AUTHORS, fit_e=_AUTHORS)


def expect_settings(chosen: Settings | str | None) -> None:
    """Refuse what neither is settings nor names some.

    Raises:
        SettingsError: no such preset.
    """
    if not (chosen is None or isinstance(chosen, Settings) or chosen in PRESETS):
        raise SettingsError("No such settings", expected=f"Settings, or one of {', '.join(PRESETS)}", got=repr(chosen))

"""The settings of an explanation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from invkit.autoencoders.settings import DEFAULT_MAX_SIZE, TINY_MAX_SIZE, AutoencoderSettings, is_photograph
from invkit.data import Generated, ImageSet
from invkit.errors import SettingsError
from invkit.flows import FlowSettings
from invkit.training import FitSettings

__all__ = ["PRESETS", "Settings", "expect_settings"]

#: names of presets
PRESETS = ("few", "quick", "paper")

_PLENTY = 6000  # number of photographs that suffices for flows of the default width
_SEEN, _COPIES = 18_000, 24  # images seen with copies of fewer photographs; most copies of one


@dataclass(frozen=True)
class Settings:
    """Everything that determines an explanation beside the data and the seed.

    Attributes:
        autoencoder: training of an autoencoder if none is passed; None chooses by the images' size.
        noise_floor: standard deviation of the noise on z, relative to z's total; differences of z below it count as
            invariances (:class:`InvarianceFlow`).
        held_out_fraction: share of the images that are held out of all training.
        amortised: train one t for all layers of a model that are explained together, with a separate H for each, in
            half as many steps as separate flows would take (results in docs/benchmarks.md).
        copies: number of copies of each training image for t and e, all but the first flipped and cropped at random.
        rho: correlation ρ of a shared concept (eq. 11).
        factor_sizes: dimensions of e by concept; None estimates them.
        t: architecture of the conditional flow.
        e: architecture of the semantic flow.
        fit_t: training of t.
        fit_anchors: training of e towards its concepts (:class:`AnchorTask`).
        fit_e: training of e on pairs, after that.

    Example:
        >>> from dataclasses import replace
        >>> settings = replace(Settings.few(), copies=4)
        >>> settings.copies, settings.t.n_flow
        (4, 3)
    """

    autoencoder: AutoencoderSettings | None = None
    noise_floor: float = 0.003
    held_out_fraction: float = 0.15
    copies: int = 1
    amortised: bool = False
    rho: float = 0.9
    factor_sizes: Mapping[str, int] | None = None
    t: FlowSettings = FlowSettings()
    e: FlowSettings = FlowSettings()
    fit_t: FitSettings = FitSettings(steps=450, batch_size=512, learning_rate=3e-3, weight_decay=0.3, precision="auto")
    fit_anchors: FitSettings = FitSettings(
        steps=900, batch_size=512, learning_rate=3e-3, weight_decay=0.5, precision="auto"
    )
    fit_e: FitSettings = FitSettings(
        steps=100, batch_size=256, learning_rate=1e-4, weight_decay=0.1, evaluate_every=50, precision="auto"
    )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-able values; an embedder of the user's own by its qualified name.

        Example:
            >>> from invkit import Settings
            >>> Settings.from_dict(Settings.quick().to_dict()) == Settings.quick()
            True
        """
        return {**asdict(self), "t": self.t.to_dict(), "e": self.e.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Return the settings of which :meth:`to_dict` made these values."""
        parts: dict[str, Any] = {
            name: FitSettings.from_dict(values[name]) for name in ("fit_t", "fit_anchors", "fit_e")
        }
        parts |= {name: FlowSettings(**values[name]) for name in ("t", "e")}
        if values["autoencoder"] is not None:
            parts["autoencoder"] = AutoencoderSettings.from_dict(values["autoencoder"])
        return cls(**{**values, **parts})

    @classmethod
    def of(cls, chosen: Settings | str | None, images: ImageSet) -> Settings:
        """Return settings as passed, by the name of a preset (`quick`, `few`, `paper`), or, for None, by the images.

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
        if isinstance(images.pixels, Generated) or not is_photograph(images.size) or count >= _PLENTY:
            return cls()
        return cls.few(max(1, min(_COPIES, _SEEN // count)))

    @classmethod
    def few(cls, copies: int = _COPIES) -> Settings:
        """Return settings for some hundreds or thousands of photographs, which wide flows would memorise."""
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
        """Return settings for a first look in some minutes, for images of at most 64 px; the metrics are rough.

        Args:
            images: to choose the architecture for; None for small images, such as digits.
        """
        suited, few = cls() if images is None else cls.for_images(images), 200
        autoencoder = AutoencoderSettings.for_images(
            DEFAULT_MAX_SIZE if images is None else min(images.size, TINY_MAX_SIZE)
        )
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
        """Return settings that run every stage in seconds, for tests; the metrics mean nothing."""
        few = FitSettings(steps=12, batch_size=32, learning_rate=1e-3, evaluate_every=6)
        flow = FlowSettings(n_flow=2, width=16, map_width=8)
        autoencoder = AutoencoderSettings(latent_dim=12, fit=few)
        return cls(autoencoder=autoencoder, t=flow, e=flow, fit_t=few, fit_e=few, fit_anchors=few)

    @classmethod
    def paper(cls) -> Settings:
        """Return the paper's flows (table S10), with rate, momenta, batch and steps of the authors' code.

        Unlike there, the rate warms up and falls (cosine), gradients are clipped and weights averaged. Training takes
        days on a CPU. The autoencoder is chosen by the size; for tables S7 and S4 set `autoencoder` to
        :meth:`AutoencoderSettings.paper`.
        """
        fit = FitSettings.paper()
        return cls(t=FlowSettings.paper(), e=FlowSettings.paper(12, 512, 2), fit_t=fit, fit_e=fit)


def expect_settings(chosen: Settings | str | None) -> None:
    """Check that these are settings, the name of a preset, or None.

    Raises:
        SettingsError: they are not.
    """
    if not (chosen is None or isinstance(chosen, Settings) or chosen in PRESETS):
        raise SettingsError("No such settings", expected=f"Settings, or one of {', '.join(PRESETS)}", got=repr(chosen))

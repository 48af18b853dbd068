"""All that decides an explanation beside the data and the seed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from invkit.flows import FlowSettings
from invkit.training import FitSettings

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """All that decides an explanation beside the data and the seed.

    Attributes:
        latent_dim: N, dimension of the code z̄ of a newly trained autoencoder.
        noise_floor: standard deviation of the noise on z, relative to z's total; what it hides counts as thrown
            away (:class:`InvarianceFlow`).
        held_out: share of the images that nothing is trained on.
        rho: correlation ρ of a shared concept (eq. 11).
        t: architecture of the conditional flow.
        e: architecture of the semantic flow.
        fit_autoencoder: training of the autoencoder.
        fit_t: training of t.
        fit_anchors: training of e towards its concepts (:class:`AnchorTask`).
        fit_e: training of e on pairs, from there.
    """

    latent_dim: int = 64
    noise_floor: float = 0.003
    held_out: float = 0.15
    rho: float = 0.9
    t: FlowSettings = FlowSettings()
    e: FlowSettings = FlowSettings()
    fit_autoencoder: FitSettings = FitSettings(
        steps=1200, batch_size=64, learning_rate=2e-3, evaluate_every=200, bf16=True
    )
    fit_t: FitSettings = FitSettings(steps=450, batch_size=512, learning_rate=3e-3, weight_decay=0.3, bf16=True)
    fit_anchors: FitSettings = FitSettings(steps=900, batch_size=512, learning_rate=3e-3, weight_decay=0.5, bf16=True)
    fit_e: FitSettings = FitSettings(
        steps=100, batch_size=256, learning_rate=1e-4, weight_decay=0.1, evaluate_every=50, bf16=True
    )

    @classmethod
    def quick(cls) -> Settings:
        """Give a first look in a minute or two; the figures are rough."""
        default, few = cls(), 200
        return replace(
            default,
            fit_autoencoder=replace(default.fit_autoencoder, steps=2 * few),
            fit_t=replace(default.fit_t, steps=few),
            fit_anchors=replace(default.fit_anchors, steps=few),
            fit_e=replace(default.fit_e, steps=few),
        )

    @classmethod
    def tiny(cls) -> Settings:
        """Give the whole recipe in seconds, for tests; the figures mean nothing."""
        few = FitSettings(steps=12, batch_size=32, learning_rate=1e-3, evaluate_every=6)
        flow = FlowSettings(n_flow=2, width=16)
        return cls(latent_dim=12, t=flow, e=flow, fit_autoencoder=few, fit_t=few, fit_e=few, fit_anchors=few)

    @classmethod
    def paper(cls) -> Settings:
        """Give the paper's flows (table S10), with rate, momenta, batch and steps of the authors' code.

        Other than there, the rate warms up and falls (cosine), gradients are clipped and weights averaged. Flows train
        on the CPU, where this takes days.
        """
        slow = FitSettings(
            steps=250_000,
            batch_size=16,
            learning_rate=7.2e-5,
            betas=(0.5, 0.9),
            evaluate_every=1000,
            patience=250,
        )
        return cls(
            latent_dim=64,
            t=FlowSettings.paper(),
            e=FlowSettings.paper(12, 512, 2),
            fit_t=slow,
            fit_e=slow,
            fit_autoencoder=replace(cls().fit_autoencoder, steps=20_000),
        )

"""The thing a user holds: what one layer of one network keeps, and what it throws away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from invkit.evaluation import Features
from invkit.explanation.attribution import Attribution, attribute
from invkit.explanation.explained import Explained
from invkit.explanation.fidelity import IMAGES, Fidelity, fidelity
from invkit.explanation.page import write_explanation
from invkit.explanation.saving import load_explanation, save_explanation
from invkit.interpretees import PerceptualDistance
from invkit.report import Picture

__all__ = ["Explanation"]


class Explanation(Explained):
    """What a layer of a network represents and what it throws away.

    Made by :func:`invkit.explain`, or read by :meth:`load`.

    Attributes:
        layer: address of the layer.
        autoencoder: E and D.
        t: the conditional flow, v = t(z̄ | z).
        e: the semantic flow; None where no concepts were given.
        held_out: images for the metrics.
        metrics: held-out metrics by name, see :func:`invkit.explain`.
        protocol: all settings that decide the metrics.
        interpretee: the model; None after loading without one.
    """

    def fidelity(
        self,
        layers: Sequence[str] = (),
        *,
        features: Features | None = None,
        perceptual: PerceptualDistance | None = None,
        n: int = IMAGES,
        seed: int | None = None,
    ) -> Fidelity:
        """Judge whether the explanation is true: what it can be trusted for, and the metrics behind that.

        Held-out images and samples of them are sent through the model again, where it is at hand.

        Args:
            layers: more of them, later ones say, at which samples are compared with their images.
            features: a network's layer in which Fréchet and kernel distances are taken.
            perceptual: distance of two images, for the diversity of samples.
            n: held-out images that are sent back.
            seed: of the draws; None for the one that all was trained with.
        """
        return fidelity(self, layers, features, perceptual, n, seed)

    def attribute(
        self,
        images: Tensor,
        *,
        concept: str | None = None,
        layer: str | None = None,
        methods: Sequence[str] = ("integrated gradients", "occlusion"),
        baseline: Tensor | None = None,
        n: int = 64,
        seed: int = 0,
    ) -> Attribution:
        """Show where in images a concept or a representation lies, beside what the layer leaves open there.

        What captum attributes to pixels is a vector g(x): a concept's factor e_i(E_μ(x)), or a representation Φ(x).
        Attributions need a number; it is how far g has come from its value in a baseline image b towards that in x,
        s(x′) = ⟨g(x′) − g(b), g(x) − g(b)⟩ / ‖g(x) − g(b)‖: 0 in b, and the distance ‖g(x) − g(b)‖ in x. Being linear
        in g it adds no nonlinearity of its own (the gradient of a norm vanishes at zero), and an image whose concept
        is hardly another than the baseline's has faint maps. Units are those of g; a factor's are standard deviations
        of its prior. Integrated gradients sum to the distance, up to the error of the integral.

        invkit's own maps are standard deviations of a pixel's intensity: over samples D(t⁻¹(v | z)), which the
        explained layer cannot tell apart; and with a concept over images D(e⁻¹(·)) with its factor alone exchanged for
        those of other held-out images. With a concept and without the model (after loading) the first is left out.

        Args:
            images: (B, 3, H, W) in [0, 1].
            concept: whose factor is attributed.
            layer: whose representation is attributed; None for the explained one. Without effect on invkit's own map.
            methods: of captum: `integrated gradients`, `occlusion`; none for invkit's own maps alone.
            baseline: b, (3, H, W) or one for each image; None for the mean held-out image.
            n: samples, or exchanged factors, of each image.
            seed: of these draws.

        Raises:
            SettingsError: an unknown concept or method, a concept and a layer, or a concept without an encoder.
            ArtefactError: a representation after loading without the model.
            LayerError: no such layer, or a model without gradients.
            DataError: not a batch of images.
            PluginError: captum is not installed.
        """
        start = None if baseline is None else self._sized(baseline)
        return attribute(
            self, self._sized(images), concept=concept, layer=layer, methods=methods, baseline=start, n=n, seed=seed
        )

    def _repr_html_(self) -> str:
        return f'<p>{self!r}</p><img src="{Picture(self.plot(rows=4), "").source}">'

    def to_html(self, file: str | Path) -> Path:
        """Write one HTML file with pictures, metrics and protocol; it needs no network to be viewed."""
        return write_explanation(self, Path(file))

    def save(self, folder: str | Path) -> Path:
        """Write the explanation as safetensors and JSON; the model itself is not in it.

        Raises:
            ArtefactError: the folder can't be written.
        """
        return save_explanation(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, model: Any = None, **parts: Any) -> Explanation:
        """Read what :meth:`save` wrote.

        Args:
            folder: where.
            model: the explained model (or interpretee), to represent new images; its weights are checked.
            parts: `autoencoder` or `embedder`, where these were the user's own; `preprocess` of the model.

        Raises:
            ArtefactError: missing, truncated, of another version, or of another model.
        """
        return load_explanation(cls, Path(folder), model, **parts)

"""The thing a user holds: what one layer of one network keeps, and what it throws away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from invkit.core import Autoencoder, Interpretee
from invkit.data import ImageSet, decode_all, encode_all, evenly, sized
from invkit.errors import ArtefactError, DataError, SettingsError
from invkit.evaluation import Estimate, Features, concept_shares, determined_shares, invariance
from invkit.explanation.fidelity import IMAGES, Fidelity, measure, read
from invkit.explanation.held_out import HeldOut
from invkit.flows import InvarianceFlow, SemanticFlow
from invkit.interpretees import PerceptualDistance
from invkit.seeds import generator_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from invkit.explanation.attribution import Attribution

__all__ = ["Explanation"]


@dataclass
class Explanation:
    """What a layer of a network represents and what it throws away.

    Made by :func:`invkit.explain`, or read by :meth:`load`.

    Attributes:
        layer: address of the layer.
        autoencoder: E and D.
        t: the conditional flow, v = t(z̄ | z).
        e: the semantic flow; None where no concepts were given.
        held_out: images for the figures.
        figures: held-out figures by name, see :func:`invkit.explain`.
        protocol: all settings that decide the figures.
        interpretee: the model; None after loading without one.
    """

    layer: str
    autoencoder: Autoencoder
    t: InvarianceFlow
    e: SemanticFlow | None
    held_out: HeldOut
    figures: dict[str, Any] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    interpretee: Interpretee | None = None

    def __repr__(self) -> str:
        return f"Explanation(layer={self.layer!r}, invariance={self.invariance()}, concepts={self._shares_text()})"

    def _shares_text(self) -> str:
        return "{" + ", ".join(f"{name}: {share}" for name, share in self.concepts().items()) + "}"

    # ---- numbers

    def invariance(self, n: int = 10_000, seed: int = 0) -> Estimate:
        """Give the share of the variance of z̄ that the layer leaves open, 0 to 1 (eq. 19).

        Args:
            n: about how many samples to draw.
            seed: of the draws.
        """
        return self._once(("invariance", n, seed), lambda: invariance(self.t, **self._basis(n, seed)))

    def concepts(self, n: int = 10_000, seed: int = 0) -> Mapping[str, Estimate]:
        """Give the share of each concept's variance that the layer explains at fixed v, 0 to 1 (eq. 20).

        The residual is among them; empty where the explanation has no concepts.

        Args:
            n: about how many samples to draw.
            seed: of the draws.
        """
        return self._shares("concepts", concept_shares, n, seed)

    def determined(self, n: int = 10_000, seed: int = 0) -> Mapping[str, Estimate]:
        """Give the share of each concept's variance that the layer alone determines, 0 to 1.

        The strict companion of :meth:`concepts`, see :func:`invkit.evaluation.determined_shares`.

        Args:
            n: about how many samples to draw.
            seed: of the draws.
        """
        return self._shares("determined", determined_shares, n, seed)

    def _shares(self, kind: str, compute: Callable[..., Any], n: int, seed: int) -> Mapping[str, Estimate]:
        if self.e is None:
            return {}
        return self._once((kind, n, seed), lambda: compute(self.t, self.e, **self._basis(n, seed)))

    def fidelity(
        self,
        layers: Sequence[str] = (),
        *,
        features: Features | None = None,
        perceptual: PerceptualDistance | None = None,
        n: int = IMAGES,
        seed: int = 0,
    ) -> Fidelity:
        """Judge whether the explanation is true: what it can be trusted for, and the figures behind that.

        Held-out images and samples of them are sent through the model again, where it is at hand.

        Args:
            layers: more of them, later ones say, at which samples are compared with their images.
            features: a network's layer in which Fréchet and kernel distances are taken.
            perceptual: distance of two images, for the diversity of samples.
            n: held-out images that are sent back.
            seed: of the draws.
        """
        key = ("fidelity", tuple(layers), features, perceptual, n, seed)
        return read(self, self._once(key, lambda: measure(self, layers, features, perceptual, n, seed)))

    def _basis(self, n: int, seed: int) -> dict[str, Any]:
        return {"z": self.held_out.z, "groups": self.held_out.data.groups, "n": n, "seed": seed}

    @property
    def nll(self) -> float:
        """Held-out −log p(z̄ | z) in nats per dimension of z̄."""
        return float(self.figures["nll"])

    @cached_property
    def _memory(self) -> dict[Any, Any]:
        """Estimates by their arguments; those with the default arguments are saved with the figures."""
        known: dict[Any, Any] = {}
        if "invariance" in self.figures:
            known["invariance", 10_000, 0] = Estimate(**self.figures["invariance"])
            for kind in {"concepts", "determined"} & self.figures.keys():
                known[kind, 10_000, 0] = {name: Estimate(**share) for name, share in self.figures[kind].items()}
        if "fidelity" in self.figures:
            known["fidelity", (), None, None, IMAGES, 0] = {
                name: Estimate(**value) if isinstance(value, dict) else value
                for name, value in self.figures["fidelity"].items()
            }
        return known

    def _once(self, key: Any, compute: Callable[[], Any]) -> Any:
        if key not in self._memory:
            self._memory[key] = compute()
        return self._memory[key]

    # ---- pictures

    def represent(self, images: Tensor) -> Tensor:
        """Give z = Φ(x) of images (B, 3, H, W) in [0, 1].

        Raises:
            ArtefactError: the explanation was loaded without its model.
        """
        return self._model.represent(self._sized(images), [self.layer])[self.layer]

    @property
    def _model(self) -> Interpretee:
        """The interpretee, where there must be one."""
        if self.interpretee is None:
            raise ArtefactError(
                "This explanation was loaded without its model",
                expected="the model, to represent new images",
                hint="Explanation.load(folder, model=model).",
            )
        return self.interpretee

    def _sized(self, images: Tensor) -> Tensor:
        """Bring images to the autoencoder's size, as the data were: the shorter side, and the centre of the other."""
        if images.ndim == 3:
            images = images.unsqueeze(0)
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise DataError(
                "Not a batch of images",
                expected="float (B, 3, H, W) in [0, 1]",
                got=f"{images.dtype} {tuple(images.shape)}",
            )
        return sized(images, self.autoencoder.image_size)

    def _encode(self, images: Tensor) -> Tensor:
        """E_μ(x), flat, on the CPU."""
        return encode_all(self.autoencoder, ImageSet(self._sized(images))).mean

    def _decode(self, latents: Tensor) -> Tensor:
        """D(z̄) of flat codes, on the CPU."""
        return decode_all(self.autoencoder, latents)

    @torch.no_grad()
    def sample(self, images: Tensor, n: int = 10, seed: int = 0) -> Tensor:
        """Draw images that the layer cannot tell from each of the given ones: D(t⁻¹(v | Φ(x))), v ~ N(0, 1).

        Args:
            images: (B, 3, H, W) in [0, 1].
            n: samples for each.
            seed: of the draws; the k-th sample of every image has the same v.

        Returns:
            (B, n, 3, S, S) in [0, 1].
        """
        return self.sample_from(self.represent(images), n, seed)

    @torch.no_grad()
    def sample_from(self, z: Tensor, n: int = 10, seed: int = 0) -> Tensor:
        """Draw images as :meth:`sample` does, from representations z (B, …)."""
        z = z.cpu()
        generator = generator_for(seed, "sample")
        v = torch.randn(n, self.t.dim, generator=generator)
        latents = self.t.inverse_given(v.expand(len(z), -1, -1), self.t.condition(z, generator))
        return self._decode(latents.flatten(0, 1)).unflatten(0, (len(z), n))

    @torch.no_grad()
    def reconstruct(self, images: Tensor) -> Tensor:
        """Give D(E_μ(x)), (B, 3, S, S): what the autoencoder alone makes of images."""
        return self._decode(self._encode(images))

    @torch.no_grad()
    def modify(self, images: Tensor, **donors: Tensor) -> Tensor:
        """Give images whose named concepts come from donor images: D(e⁻¹(·)) with e_i swapped (paper, sec. 3.2).

        For instance ``modify(x, digit=y)``.

        Args:
            images: (B, 3, H, W) in [0, 1].
            donors: by concept, images (B, 3, H, W), or one for all.

        Returns:
            (B, 3, S, S) in [0, 1].

        Raises:
            SettingsError: no concepts, or an unknown one.
        """
        e = self._semantic(donors)
        latents = self._encode(images)
        for concept, donor in donors.items():
            theirs = self._encode(donor).expand(len(latents), -1)
            latents = e.swap(latents, theirs, concept)
        return self._decode(latents)

    @torch.no_grad()
    def interpolate(self, images: Tensor, others: Tensor, steps: int = 8, concept: str | None = None) -> Tensor:
        """Go from images to others along a straight line of e's factors, or of one concept's alone.

        Without concepts the line is one of z̄.

        Args:
            images: (B, 3, H, W) in [0, 1].
            others: (B, 3, H, W), or one for all.
            steps: images on the way, both ends counted.
            concept: move this factor only.

        Returns:
            (B, steps, 3, S, S) in [0, 1].
        """
        start = self._encode(images)
        end = self._encode(others).expand_as(start)
        e = None if self.e is None and concept is None else self._semantic([] if concept is None else [concept])
        if e is not None:
            start, end = e(start).value, e(end).value
        if e is not None and concept is not None:
            goal = start.clone()
            goal[:, e.slices[concept]] = end[:, e.slices[concept]]
            end = goal
        path = torch.stack([torch.lerp(start, end, float(w)) for w in torch.linspace(0, 1, steps)], 1).flatten(0, 1)
        latents = path if e is None else e.inverse(path)
        return self._decode(latents).unflatten(0, (-1, steps))

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
        from invkit.explanation.attribution import attribute

        start = None if baseline is None else self._sized(baseline)
        return attribute(
            self, self._sized(images), concept=concept, layer=layer, methods=methods, baseline=start, n=n, seed=seed
        )

    def _semantic(self, wanted: Any) -> SemanticFlow:
        known = [] if self.e is None else self.e.concepts
        unknown = [name for name in wanted if name not in known]
        if self.e is None or unknown:
            raise SettingsError(
                f"No concept {', '.join(map(repr, unknown)) or 'at all'} in this explanation",
                expected=", ".join(known) or "concepts, given to invkit.explain with the data",
                hint="Pass `concepts={name: labels}` to invkit.explain.",
            )
        return self.e

    # ---- showing and keeping

    def plot(self, rows: int = 6, columns: int = 8, seed: int = 0) -> Figure:
        """Draw held-out images, their reconstructions, and samples that the layer cannot tell from them.

        Args:
            rows: images.
            columns: samples of each; a column shares v.
            seed: of the draws.
        """
        from invkit.report.figures import sample_sheet

        data, z = self.held_out.data, self.held_out.z
        chosen = evenly(len(data), rows)
        images = data.images(chosen)
        made = self.reconstruct(images) if self.autoencoder.has_encoder else images
        return sample_sheet(images, made, self.sample_from(z[chosen], columns, seed), self.layer)

    def _repr_html_(self) -> str:
        from invkit.report import Picture

        return f'<p>{self!r}</p><img src="{Picture(self.plot(rows=4), "").source}">'

    def to_html(self, file: str | Path) -> Path:
        """Write one HTML file with pictures, figures and protocol; it needs no network to be viewed."""
        from invkit.explanation.page import write_explanation

        return write_explanation(self, Path(file))

    def save(self, folder: str | Path) -> Path:
        """Write the explanation as safetensors and JSON; the model itself is not in it.

        Raises:
            ArtefactError: the folder can't be written.
        """
        from invkit.explanation.saving import save_explanation

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
        from invkit.explanation.saving import load_explanation

        return load_explanation(Path(folder), model, **parts)

"""`Explanation`: what one layer of one network represents, and what it throws away."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from invkit.core import Autoencoder, Estimate, Interpretee
from invkit.data import ImageSet, decode_all, encode_all, evenly_spaced, resize_and_crop
from invkit.errors import ArtefactError, DataError, SettingsError
from invkit.evaluation import Features, concept_shares, determined_shares, invariance
from invkit.explanation.attribution import Attribution, attribute
from invkit.explanation.fidelity import IMAGES, Fidelity, fidelity
from invkit.explanation.held_out import HeldOut
from invkit.explanation.saving import load_parts, save_explanation
from invkit.explanation.sections import write_explanation
from invkit.flows import InvarianceFlow, SemanticFlow
from invkit.interpretees import PerceptualDistance
from invkit.report import NUMBERS, Picture, data_frame, metric_rows, sample_sheet
from invkit.utils.io import nan_to_none
from invkit.utils.random import generator_for
from invkit.utils.text import one_line

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["Explanation"]

_DRAWS = 10_000  # samples behind each estimate, as in the paper


@dataclass(eq=False, repr=False)
class Explanation:
    """What a layer of a network represents and what it throws away (Rombach, Esser, Ommer, ECCV 2020).

    Return value of :func:`invkit.explain`; :meth:`load` reads a saved one. All images are float (B, 3, H, W) in
    [0, 1]; they are resized to the autoencoder's size S (shorter side, then centre crop). Tensors are returned on the
    CPU.

    Attributes:
        layer: address of the layer.
        autoencoder: E and D.
        t: the conditional flow, v = t(z̄ | z).
        e: the semantic flow; None without concepts.
        held_out: held-out images and their representations, on which all metrics are computed.
        metrics: held-out metrics by name, JSON-able, see :func:`invkit.explain`.
        protocol: all settings that the metrics depend on.
        interpretee: the explained model; None after loading without it.

    Example:
        >>> explanation  # doctest: +ELLIPSIS
        Explanation(layer='0', invariance=..., concepts=['digit', 'foreground', 'background'])
        >>> x = explanation.held_out.data.images(slice(2))
        >>> explanation.sample(x, n=4).shape
        torch.Size([2, 4, 3, 28, 28])
        >>> explanation.concepts()["digit"] < 1.5
        True
    """

    layer: str
    autoencoder: Autoencoder
    t: InvarianceFlow
    e: SemanticFlow | None
    held_out: HeldOut
    metrics: dict[str, Any] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    interpretee: Interpretee | None = None

    def __repr__(self) -> str:
        known = self._results.get(("invariance", _DRAWS, self.seed))  # not worth 10,000 draws
        share = "" if known is None else f", invariance={known}"
        return one_line(f"Explanation(layer={self.layer!r}{share}, concepts={self.e.concepts if self.e else []})")

    def __str__(self) -> str:
        shares = {"invariance": self.invariance(), **self.concepts()}
        return "\n".join([f"Layer '{self.layer}'", *(f"  {name}: {share}" for name, share in shares.items())])

    def _repr_html_(self) -> str:
        return f'<p>{html.escape(repr(self))}</p><img src="{Picture(self.plot(rows=4), "").source}">'

    @property
    def seed(self) -> int:
        """The seed of training, and the default seed of all estimates."""
        return int(self.protocol.get("seed", 0))

    @property
    def model(self) -> Interpretee:
        """The explained model.

        Raises:
            ArtefactError: the explanation was loaded without its model.
        """
        if self.interpretee is None:
            raise ArtefactError(
                "This explanation was loaded without its model",
                expected="the model, to represent new images",
                hint="Explanation.load(folder, model=model).",
            )
        return self.interpretee

    # ---- numbers

    def invariance(self, n: int = _DRAWS, seed: int | None = None) -> Estimate:
        """Return the share of the variance of z̄ that the layer leaves open, 0 to 1 (eq. 19).

        Args:
            n: approximate number of samples.
            seed: of the draws; None for the seed of training.

        Example:
            >>> explanation.invariance()  # doctest: +ELLIPSIS
            0... ± 0...
        """
        return self._share("invariance", partial(invariance, self.t), n, seed)

    def concepts(self, n: int = _DRAWS, seed: int | None = None) -> Mapping[str, Estimate]:
        """Return the share of each concept's variance that the layer explains at fixed v, 0 to 1 (eq. 20).

        The residual is included. Empty for an explanation without concepts.

        Args:
            n: approximate number of samples.
            seed: of the draws; None for the seed of training.

        Example:
            >>> list(explanation.concepts())
            ['residual', 'digit', 'foreground', 'background']
        """
        return {} if self.e is None else self._share("concepts", partial(concept_shares, self.t, self.e), n, seed)

    def determined(self, n: int = _DRAWS, seed: int | None = None) -> Mapping[str, Estimate]:
        """Return the share of each concept's variance that the layer alone determines, 0 to 1.

        A lower bound of :meth:`concepts`, see :func:`invkit.evaluation.determined_shares`.

        Args:
            n: approximate number of samples.
            seed: of the draws; None for the seed of training.

        Example:
            >>> float(explanation.determined()["digit"]) <= 1
            True
        """
        return {} if self.e is None else self._share("determined", partial(determined_shares, self.t, self.e), n, seed)

    def _share(self, kind: str, compute: Callable[..., Any], n: int, seed: int | None) -> Any:
        seed = self.seed if seed is None else seed
        z, groups = self.held_out.z, self.held_out.data.groups
        return self.once((kind, n, seed), lambda: compute(z=z, groups=groups, n=n, seed=seed))

    @cached_property
    def _results(self) -> dict[Any, Any]:
        """Computed results by their arguments; those with the default arguments are saved in `metrics`."""
        known: dict[Any, Any] = {}
        if "invariance" in self.metrics:
            known["invariance", _DRAWS, self.seed] = Estimate(**self.metrics["invariance"])
            for kind in {"concepts", "determined"} & self.metrics.keys():
                shares = {name: Estimate(**share) for name, share in self.metrics[kind].items()}
                known[kind, _DRAWS, self.seed] = shares
        return known

    def once(self, key: Any, compute: Callable[[], Any]) -> Any:
        """Return the result under a key; compute it on the first call."""
        if key not in self._results:
            self._results[key] = compute()
        return self._results[key]

    def fidelity(
        self,
        layers: Sequence[str] = (),
        *,
        features: Features | None = None,
        perceptual: PerceptualDistance | None = None,
        n: int = IMAGES,
        seed: int | None = None,
    ) -> Fidelity:
        """Evaluate how far the explanation can be trusted.

        Held-out images and samples of them are passed through the model again; without the model these metrics are
        left out.

        Args:
            layers: further layers, for instance later ones, at which samples are compared with their images.
            features: a network's layer for Fréchet and kernel distances.
            perceptual: distance of two images, for the diversity of samples.
            n: number of held-out images to pass through the model.
            seed: of the draws; None for the seed of training.

        Example:
            >>> explanation.fidelity()  # doctest: +ELLIPSIS
            Fidelity(green=..., amber=..., red=..., metrics=...)
        """
        return fidelity(self, layers, features, perceptual, n, seed)

    # ---- images

    def represent(self, images: Tensor) -> Tensor:
        """Return z = Φ(x) of images (B, 3, H, W), (B, …).

        Raises:
            ArtefactError: the explanation was loaded without its model.

        Example:
            >>> len(explanation.represent(explanation.held_out.data.images(slice(2))))
            2
        """
        return self.model.represent(self._sized(images), [self.layer])[self.layer]

    @torch.no_grad()
    def sample(self, images: Tensor, n: int = 10, seed: int = 0) -> Tensor:
        """Draw images that the layer cannot distinguish from each input: D(t⁻¹(v | Φ(x))), v ~ N(0, 1).

        Args:
            images: (B, 3, H, W).
            n: samples per image.
            seed: of the draws; the k-th sample of every image has the same v.

        Returns:
            (B, n, 3, S, S) in [0, 1].

        Raises:
            ArtefactError: the explanation was loaded without its model.

        Example:
            >>> explanation.sample(explanation.held_out.data.images(slice(1)), n=2).shape
            torch.Size([1, 2, 3, 28, 28])
        """
        return self.sample_from(self.represent(images), n, seed)

    @torch.no_grad()
    def sample_from(self, z: Tensor, n: int = 10, seed: int = 0) -> Tensor:
        """Draw images as :meth:`sample` does, from representations z (B, …).

        Example:
            >>> explanation.sample_from(explanation.held_out.z[:1], n=2).shape
            torch.Size([1, 2, 3, 28, 28])
        """
        z = z.cpu()
        generator = generator_for(seed, "sample")
        v = torch.randn(n, self.t.dim, generator=generator)
        latents = self.t.inverse_given(v.expand(len(z), -1, -1), self.t.condition(z, generator))
        return self._decode(latents.flatten(0, 1)).unflatten(0, (len(z), n))

    @torch.no_grad()
    def reconstruct(self, images: Tensor) -> Tensor:
        """Return the autoencoder's reconstructions D(E_μ(x)), (B, 3, S, S).

        Example:
            >>> explanation.reconstruct(explanation.held_out.data.images(slice(2))).shape
            torch.Size([2, 3, 28, 28])
        """
        return self._decode(self._encode(images))

    @torch.no_grad()
    def modify(self, images: Tensor, /, **donors: Tensor) -> Tensor:
        """Swap concepts of images for those of donor images: D(e⁻¹(·)) with e_i exchanged (paper, sec. 3.2).

        Args:
            images: (B, 3, H, W).
            donors: by concept, images (B, 3, H, W), or one for all.

        Returns:
            (B, 3, S, S) in [0, 1].

        Raises:
            SettingsError: no concepts, or an unknown one.

        Example:
            >>> x, y = explanation.held_out.data.images(slice(2)).split(1)
            >>> explanation.modify(x, digit=y).shape
            torch.Size([1, 3, 28, 28])
        """
        e = self.semantic(donors)
        latents = self._encode(images)
        for concept, donor in donors.items():
            theirs = self._encode(donor).expand(len(latents), -1)
            latents = e.swap(latents, theirs, concept)
        return self._decode(latents)

    @torch.no_grad()
    def interpolate(self, images: Tensor, others: Tensor, steps: int = 8, concept: str | None = None) -> Tensor:
        """Interpolate between images linearly in e's factors, or in one concept's factor.

        Without concepts the interpolation is linear in z̄.

        Args:
            images: (B, 3, H, W).
            others: (B, 3, H, W), or one for all.
            steps: number of images, both ends included.
            concept: interpolate this factor only.

        Returns:
            (B, steps, 3, S, S) in [0, 1].

        Raises:
            SettingsError: an unknown concept.

        Example:
            >>> x, y = explanation.held_out.data.images(slice(2)).split(1)
            >>> explanation.interpolate(x, y, steps=3, concept="digit").shape
            torch.Size([1, 3, 3, 28, 28])
        """
        start = self._encode(images)
        end = self._encode(others).expand_as(start)
        e = None if self.e is None and concept is None else self.semantic([] if concept is None else [concept])
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
        """Locate a concept or a representation in images, beside what the layer leaves open there.

        captum attributes a vector g(x) to pixels: a concept's factor e_i(E_μ(x)), or a representation Φ(x).
        Attributions need a scalar. It is how far g has moved from its value in a baseline image b towards that in x,
        s(x′) = ⟨g(x′) − g(b), g(x) − g(b)⟩ / ‖g(x) − g(b)‖: 0 in b, and the distance ‖g(x) − g(b)‖ in x. It is linear
        in g and adds no nonlinearity (the gradient of a norm vanishes at zero). An image whose concept is close to
        the baseline's has faint maps. Units are those of g; a factor's are standard deviations of its prior.
        Integrated gradients sum to the distance, up to the error of the integral.

        invkit's own maps are standard deviations of a pixel's intensity: over samples D(t⁻¹(v | z)), which the
        explained layer cannot distinguish; and with a concept over images D(e⁻¹(·)) with its factor alone exchanged
        for those of other held-out images. With a concept and without the model (after loading) the first is left out.

        Args:
            images: (B, 3, H, W).
            concept: attribute this concept's factor.
            layer: attribute this layer's representation; None for the explained layer. No effect on invkit's own map.
            methods: captum's `integrated gradients` and `occlusion`; empty for invkit's own maps alone.
            baseline: b, (3, H, W) or one for each image; None for the mean held-out image.
            n: samples, or exchanged factors, per image.
            seed: of these draws.

        Raises:
            SettingsError: an unknown concept or method, a concept and a layer, or a concept without an encoder.
            ArtefactError: a representation after loading without the model.
            LayerError: no such layer, or a model without gradients.
            DataError: not a batch of images.
            PluginError: captum is not installed.

        Example:
            >>> x = explanation.held_out.data.images(slice(2))
            >>> list(explanation.attribute(x, concept="digit", methods=(), n=2).spreads)
            ["moves with 'digit' alone", "left open by '0'"]
        """
        start = None if baseline is None else self._sized(baseline)
        return attribute(
            self, self._sized(images), concept=concept, layer=layer, methods=methods, baseline=start, n=n, seed=seed
        )

    def semantic(self, wanted: Iterable[str] = ()) -> SemanticFlow:
        """Return e after checking that it has the wanted concepts.

        Raises:
            SettingsError: an unknown concept, or no concepts at all.
        """
        known = [] if self.e is None else self.e.concepts
        unknown = [name for name in wanted if name not in known]
        if self.e is None or unknown:
            raise SettingsError(
                f"No concept {', '.join(map(repr, unknown)) or 'at all'} in this explanation",
                expected=", ".join(known) or "concepts, given to invkit.explain with the data",
                hint="Pass `concepts={name: labels}` to invkit.explain.",
            )
        return self.e

    def _sized(self, images: Tensor) -> Tensor:
        """Resize images to the autoencoder's size as the training data were: shorter side, then centre crop."""
        if images.ndim == 3:
            images = images.unsqueeze(0)
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise DataError(
                "Not a batch of images",
                expected="float (B, 3, H, W) in [0, 1]",
                got=f"{images.dtype} {tuple(images.shape)}",
            )
        return resize_and_crop(images, self.autoencoder.image_size)

    def _encode(self, images: Tensor) -> Tensor:
        """Return E_μ(x), flat, on the CPU."""
        return encode_all(self.autoencoder, ImageSet(self._sized(images))).mean

    def _decode(self, latents: Tensor) -> Tensor:
        """Return D(z̄) of flat codes, on the CPU."""
        return decode_all(self.autoencoder, latents)

    # ---- results

    def plot(self, rows: int = 6, columns: int = 8, seed: int = 0) -> Figure:
        """Draw held-out images, their reconstructions, and samples that the layer cannot distinguish from them.

        Args:
            rows: number of images.
            columns: samples per image; a column shares v.
            seed: of the draws.

        Example:
            >>> len(explanation.plot(rows=2, columns=2).axes)
            3
        """
        data, z = self.held_out.data, self.held_out.z
        chosen = evenly_spaced(len(data), rows)
        images = data.images(chosen)
        made = self.reconstruct(images) if self.autoencoder.has_encoder else images
        return sample_sheet(images, made, self.sample_from(z[chosen], columns, seed), self.layer)

    def to_dict(self) -> dict[str, Any]:
        """Return the layer and all metrics as JSON-able values; None for a number that is not finite.

        Example:
            >>> sorted(explanation.to_dict()["invariance"])
            ['n', 'standard_error', 'value']
        """
        return {"layer": self.layer, **nan_to_none(self.metrics)}

    def to_frame(self) -> pd.DataFrame:
        """Return all metrics as a pandas data frame, one row per metric and concept.

        Returns:
            a frame with the columns `layer`, `metric`, `concept` (missing for metrics of the whole layer), `value`,
            `standard_error` (NaN if unknown) and `n`.

        Raises:
            PluginError: pandas is not installed.

        Example:
            >>> frame = explanation.to_frame()
            >>> list(frame.columns)
            ['layer', 'metric', 'concept', 'value', 'standard_error', 'n']
            >>> len(frame[frame.metric == "concepts"])
            4
        """
        rows = ({"layer": self.layer, **row} for row in metric_rows(self.metrics))
        return data_frame(rows, "layer", "metric", "concept", *NUMBERS)

    def to_html(self, file: str | Path) -> Path:
        """Write one HTML file with pictures, metrics and protocol; it needs no network to be viewed.

        Raises:
            ArtefactError: the file can't be written.
        """
        return write_explanation(self, Path(file))

    def save(self, folder: str | Path) -> Path:
        """Write the explanation as safetensors and JSON. The explained model is not included.

        Raises:
            ArtefactError: the folder can't be written.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     loaded = invkit.Explanation.load(explanation.save(folder))
            >>> loaded.invariance() == explanation.invariance()
            True
        """
        return save_explanation(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, model: Any = None, **parts: Any) -> Explanation:
        """Read an explanation written by :meth:`save`. Nothing in the folder is executed.

        Args:
            folder: path of the folder.
            model: the explained model (or interpretee), to represent new images; its weights are checked.
            parts: `autoencoder` or `embedder`, if these were custom; `preprocess` of the model.

        Raises:
            ArtefactError: missing, truncated, of another version, or of another model.
        """
        return cls(**load_parts(Path(folder), model, **parts))

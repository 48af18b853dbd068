"""What is known of a layer, with which all else is computed: E, D, t, e and held-out images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from invkit.core import Autoencoder, Estimate, Interpretee
from invkit.data import ImageSet, decode_all, encode_all, evenly_spaced, resize_and_crop
from invkit.errors import ArtefactError, DataError, SettingsError
from invkit.evaluation import concept_shares, determined_shares, invariance
from invkit.explanation.held_out import HeldOut
from invkit.flows import InvarianceFlow, SemanticFlow
from invkit.report import sample_sheet
from invkit.utils.random import generator_for

__all__ = ["Explained"]


@dataclass
class Explained:
    """What a layer represents and throws away, as far as it takes no more than what is held here.

    The judgement, attributions, pages and files of :class:`Explanation` build on this; it tells the attributes.
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
        shown = f"layer={self.layer!r}, invariance={self.invariance()}, concepts={dict(self.concepts())}"
        return f"{type(self).__name__}({shown})"

    # ---- numbers

    def invariance(self, n: int = 10_000, seed: int | None = None) -> Estimate:
        """Return the share of the variance of z̄ that the layer leaves open, 0 to 1 (eq. 19).

        Args:
            n: about how many samples to draw.
            seed: of the draws; None for the one that all was trained with.
        """
        return self._share("invariance", partial(invariance, self.t), n, seed)

    def concepts(self, n: int = 10_000, seed: int | None = None) -> Mapping[str, Estimate]:
        """Return the share of each concept's variance that the layer explains at fixed v, 0 to 1 (eq. 20).

        The residual is among them; empty where the explanation has no concepts.

        Args:
            n: about how many samples to draw.
            seed: of the draws; None for the one that all was trained with.
        """
        return {} if self.e is None else self._share("concepts", partial(concept_shares, self.t, self.e), n, seed)

    def determined(self, n: int = 10_000, seed: int | None = None) -> Mapping[str, Estimate]:
        """Return the share of each concept's variance that the layer alone determines, 0 to 1.

        The strict companion of :meth:`concepts`, see :func:`invkit.evaluation.determined_shares`.

        Args:
            n: about how many samples to draw.
            seed: of the draws; None for the one that all was trained with.
        """
        return {} if self.e is None else self._share("determined", partial(determined_shares, self.t, self.e), n, seed)

    @property
    def seed(self) -> int:
        """The seed that all was trained with."""
        return int(self.protocol.get("seed", 0))

    def _share(self, kind: str, compute: Callable[..., Any], n: int, seed: int | None) -> Any:
        seed = self.seed if seed is None else seed
        of = self.held_out
        return self.once((kind, n, seed), lambda: compute(z=of.z, groups=of.data.groups, n=n, seed=seed))

    @cached_property
    def _memory(self) -> dict[Any, Any]:
        """Results by their arguments; estimates with the default ones are saved with the metrics."""
        known: dict[Any, Any] = {}
        if "invariance" in self.metrics:
            known["invariance", 10_000, self.seed] = Estimate(**self.metrics["invariance"])
            for kind in {"concepts", "determined"} & self.metrics.keys():
                shares = {name: Estimate(**share) for name, share in self.metrics[kind].items()}
                known[kind, 10_000, self.seed] = shares
        return known

    def once(self, key: Any, compute: Callable[[], Any]) -> Any:
        """Return what was computed under this key, or compute it."""
        if key not in self._memory:
            self._memory[key] = compute()
        return self._memory[key]

    # ---- pictures

    def represent(self, images: Tensor) -> Tensor:
        """Return z = Φ(x) of images (B, 3, H, W) in [0, 1].

        Raises:
            ArtefactError: the explanation was loaded without its model.
        """
        return self.model.represent(self._sized(images), [self.layer])[self.layer]

    @property
    def model(self) -> Interpretee:
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
        return resize_and_crop(images, self.autoencoder.image_size)

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
        """Return D(E_μ(x)), (B, 3, S, S): what the autoencoder alone makes of images."""
        return self._decode(self._encode(images))

    @torch.no_grad()
    def modify(self, images: Tensor, /, **donors: Tensor) -> Tensor:
        """Return images whose named concepts come from donor images: D(e⁻¹(·)) with e_i swapped (paper, sec. 3.2).

        For instance ``modify(x, digit=y)``.

        Args:
            images: (B, 3, H, W) in [0, 1].
            donors: by concept, images (B, 3, H, W), or one for all.

        Returns:
            (B, 3, S, S) in [0, 1].

        Raises:
            SettingsError: no concepts, or an unknown one.
        """
        e = self.semantic(donors)
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

    def semantic(self, wanted: Iterable[str]) -> SemanticFlow:
        """Return e, where it has the wanted concepts.

        Raises:
            SettingsError: it has not, or there is none.
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

    def plot(self, rows: int = 6, columns: int = 8, seed: int = 0) -> Figure:
        """Draw held-out images, their reconstructions, and samples that the layer cannot tell from them.

        Args:
            rows: images.
            columns: samples of each; a column shares v.
            seed: of the draws.
        """
        data, z = self.held_out.data, self.held_out.z
        chosen = evenly_spaced(len(data), rows)
        images = data.images(chosen)
        made = self.reconstruct(images) if self.autoencoder.has_encoder else images
        return sample_sheet(images, made, self.sample_from(z[chosen], columns, seed), self.layer)

"""Attributions: where in an image a concept or a representation lies, and which pixels a layer leaves open."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from matplotlib.figure import Figure
from torch import Tensor

from invkit.data import evenly_spaced
from invkit.errors import DataError, PluginError, SettingsError
from invkit.interpretees.capture import untouched
from invkit.report.heatmaps import Heatmap, heatmap_sheet
from invkit.utils.random import generator_for
from invkit.utils.text import one_line

if TYPE_CHECKING:
    from invkit.explanation.explanation import Explanation

__all__ = ["Attribution", "attribute"]

_STEPS = 128  # of the numerical integral
_WINDOWS = 7  # occluding windows side by side across an image; the stride is half a window
_PIXELS, _BATCH = 2**19, 64  # pixels and images in one batch, gradients included
_SOME = 256  # held-out images behind the mean image
_Vectors = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False, repr=False)
class Attribution:
    """Where in images a concept or a representation lies, and which pixels may change.

    Return value of :meth:`invkit.Explanation.attribute`.

    Attributes:
        of: what was attributed, for instance ``the factor 'digit'``.
        images: (B, 3, S, S) in [0, 1].
        baseline: the image that attributions compare with, (B, 3, S, S).
        maps: captum's attributions by method, (B, S, S), signed: how far each pixel moves g from its value in the
            baseline towards that in the image, in units of g; see :meth:`invkit.Explanation.attribute`.
        spreads: invkit's own maps by title, (B, S, S): standard deviation of the pixel's intensity (0 to 1) over
            images; ≥ 0.
        distance: ‖g(x) − g(baseline)‖, (B,). Integrated gradients sum to it.

    Example:
        >>> import torch
        >>> from invkit.explanation import Attribution
        >>> x, maps = torch.rand(2, 3, 8, 8), {"occlusion": torch.randn(2, 8, 8)}
        >>> found = Attribution("the factor 'digit'", x, torch.zeros_like(x), maps, {}, torch.ones(2))
        >>> found
        Attribution(of="the factor 'digit'", images=2, maps=['occlusion'], spreads=[])
        >>> len(found.plot().axes)  # images, maps, and the scale of the maps' colours
        3
    """

    of: str
    images: Tensor
    baseline: Tensor
    maps: Mapping[str, Tensor]
    spreads: Mapping[str, Tensor]
    distance: Tensor

    def __repr__(self) -> str:
        names = f"maps={list(self.maps)}, spreads={list(self.spreads)}"
        return one_line(f"Attribution(of={self.of!r}, images={len(self.images)}, {names})")

    @property
    def caption(self) -> str:
        """The caption of the figure."""
        texts = [_METHOD_TEXTS[name].format(of=self.of) for name in self.maps]
        texts += ["Red: towards its value in x; blue: away from it." if texts else ""]
        texts += [
            next(text for start, text in _SPREAD_TEXTS.items() if name.startswith(start)) for name in self.spreads
        ]
        return " ".join(text for text in texts if text)

    def plot(self) -> Figure:
        """Draw one row per image: x, the attributions, and the spreads."""
        columns = [
            Heatmap(f"{name} of {self.of}", values, "distance from baseline to x") for name, values in self.maps.items()
        ]
        columns += [Heatmap(name, values, "std of intensity", signed=False) for name, values in self.spreads.items()]
        return heatmap_sheet(self.images, columns, self.caption)


_METHOD_TEXTS = {
    "integrated gradients": "Integrated gradients: how far each pixel moves {of} from its value in a baseline image "
    "(by default the mean of held-out images) to its value in x; the pixels' values sum to the distance.",
    "occlusion": "Occlusion: how much of that distance is lost where a window around the pixel shows the "
    "baseline instead.",
}
_SPREAD_TEXTS = {
    "left open": "Left open: how much a pixel varies over images that the layer cannot distinguish from x; where it is "
    "pale, the layer fixes the pixel.",
    "moves": "Moves: how much a pixel varies when this factor alone is exchanged for those of other images.",
}


def attribute(
    explanation: Explanation,
    images: Tensor,
    *,
    concept: str | None,
    layer: str | None,
    methods: Sequence[str],
    baseline: Tensor | None,
    n: int,
    seed: int,
) -> Attribution:
    """Implement :meth:`Explanation.attribute` for images and a baseline of the autoencoder's size."""
    _check(explanation, images, concept, layer, methods, n)
    images = images.detach().cpu().float()
    baseline = _fitted(_mean_image(explanation) if baseline is None else baseline, images)
    if concept is None:
        layer = layer or explanation.layer
        of, g = f"the representation at '{layer}'", _representation(explanation, layer)
    else:
        of, g = f"the factor '{concept}'", _factor(explanation, concept)
    with untouched(explanation.autoencoder):
        spreads = _spreads(explanation, images, concept, n, seed)
        ways = [_Way(g, x, b) for x, b in zip(images, baseline, strict=True)]
    sides = (explanation.interpretee and explanation.interpretee.input_shape) or images.shape[-2:]
    batch = max(2, min(_BATCH, _PIXELS // math.prod(sides)))
    maps = {name: torch.stack([_METHODS[name](way, batch) for way in ways]) for name in methods}
    return Attribution(of, images, baseline, maps, spreads, torch.tensor([way.distance for way in ways]))


def _check(
    explanation: Explanation, images: Tensor, concept: str | None, layer: str | None, methods: Sequence[str], n: int
) -> None:
    """Raise an error for invalid arguments, before any work."""
    if len(images) == 0:
        raise DataError("There are no images", expected="at least one")
    if concept is not None and layer is not None:
        raise SettingsError("Either a concept or a layer is attributed", got=f"concept={concept!r}, layer={layer!r}")
    if concept is not None:
        explanation.semantic([concept])
        if not explanation.autoencoder.has_encoder:
            raise SettingsError(
                "A concept cannot be attributed with an autoencoder that cannot encode images",
                expected="an autoencoder with an encoder",
                got=type(explanation.autoencoder).__name__,
                hint="The layer's representation can be attributed: leave `concept` out.",
            )
    unknown = [name for name in methods if name not in _METHODS]
    if unknown or n < 2:
        raise SettingsError(
            "Invalid arguments for attributions",
            expected=f"methods among {', '.join(_METHODS)}, and n ≥ 2",
            got=f"methods {', '.join(methods)}, n = {n}",
        )
    if methods and find_spec("captum") is None:
        raise PluginError(
            "Attributions need captum, which is not installed",
            hint="pip install captum; methods=() gives invkit's own maps without it.",
        )


def _mean_image(explanation: Explanation) -> Tensor:
    """Return the mean held-out image, (1, 3, S, S)."""
    data = explanation.held_out.data
    return data.images(evenly_spaced(len(data), _SOME)).mean(0, keepdim=True)


def _fitted(baseline: Tensor, images: Tensor) -> Tensor:
    """Return one baseline per image."""
    if len(baseline) not in (1, len(images)):
        raise DataError(
            "The baseline does not match the images", expected=f"1 image or {len(images)}", got=len(baseline)
        )
    return baseline.detach().cpu().float().expand_as(images)


# ---- vectors g(x) of images, (B, 3, S, S) to (B, D); differentiable if gradients are enabled


def _factor(explanation: Explanation, concept: str) -> _Vectors:
    """Return e_i(E_μ(x)), the factor of a concept."""
    autoencoder, e = explanation.autoencoder, explanation.semantic([concept])

    def factor(images: Tensor) -> Tensor:
        recorded = torch.is_grad_enabled()
        with untouched(autoencoder, gradients=recorded), untouched(e, gradients=recorded):
            codes = autoencoder.encode(images.to(autoencoder.device)).mean.flatten(1)
            return e(codes.to(e.device)).value[:, e.slices[concept]].to(images.device)

    return factor


def _representation(explanation: Explanation, layer: str) -> _Vectors:
    """Return Φ(x), flat."""
    interpretee = explanation.model

    def representation(images: Tensor) -> Tensor:
        compute = interpretee.features if torch.is_grad_enabled() else interpretee.represent
        return compute(images, [layer])[layer].flatten(1)

    return representation


class _Way:
    """How far images are on the straight line from g(b) of a baseline b to g(x) of an image x.

    Args:
        g: the attributed function.
        image: x, (3, S, S).
        baseline: b, (3, S, S).
    """

    def __init__(self, g: _Vectors, image: Tensor, baseline: Tensor) -> None:
        self.g, self.image, self.baseline = g, image[None], baseline[None]
        with torch.no_grad():
            self.start, end = g(torch.stack([baseline, image]))
        along = end - self.start
        self.distance = float(along.norm())
        self.direction = along / along.norm().clamp_min(torch.finfo(along.dtype).tiny)

    def __call__(self, images: Tensor) -> Tensor:
        """Return s(x′) = ⟨g(x′) − g(b), g(x) − g(b)⟩ / ‖g(x) − g(b)‖ of images (B, 3, S, S), (B,)."""
        return (self.g(images) - self.start) @ self.direction


# ---- captum's methods: one map (S, S) of one image


def _integrated_gradients(way: _Way, batch: int) -> Tensor:
    """Return integrated gradients (Sundararajan et al., 2017), summed over a pixel's channels."""
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(way)
    found = method.attribute(way.image, way.baseline, n_steps=_STEPS, internal_batch_size=batch)
    return found.detach().sum((0, 1))


def _occlusion(way: _Way, batch: int) -> Tensor:
    """Return occlusion (Zeiler and Fergus, 2014); a pixel's value is the mean over the windows that cover it."""
    from captum.attr import Occlusion

    side = max(2, way.image.shape[-1] // _WINDOWS)
    step = side // 2
    found = Occlusion(way).attribute(
        way.image, (3, side, side), (3, step, step), baselines=way.baseline, perturbations_per_eval=batch
    )
    return found.detach().mean((0, 1))  # all channels have the same value


_METHODS: dict[str, Callable[[_Way, int], Tensor]] = {
    "integrated gradients": _integrated_gradients,
    "occlusion": _occlusion,
}


# ---- invkit's own maps


@torch.no_grad()
def _spreads(explanation: Explanation, images: Tensor, concept: str | None, n: int, seed: int) -> dict[str, Tensor]:
    """Return the spread of pixels with the concept alone, and at a fixed representation of the layer."""
    found = {}
    if concept is not None:
        data = explanation.held_out.data
        rows = torch.randperm(len(data), generator=generator_for(seed, "donors"))[:n]
        donors = data.images(rows)
        moved = [_spread(explanation.modify(x.expand_as(donors), **{concept: donors})) for x in images]
        found[f"moves with '{concept}' alone"] = torch.stack(moved)
    if concept is None or explanation.interpretee is not None:
        samples = explanation.sample(images, n, seed)
        found[f"left open by '{explanation.layer}'"] = torch.stack([_spread(some) for some in samples])
    return found


def _spread(images: Tensor) -> Tensor:
    """Return the standard deviation of each pixel over images (n, 3, S, S), root mean square over channels, (S, S)."""
    return images.var(0).mean(0).sqrt()

"""Where in an image a concept or a representation lies: captum's attributions beside what a layer leaves open."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from matplotlib.figure import Figure
from torch import Tensor

from invkit.data import evenly_spaced
from invkit.errors import DataError, PluginError, SettingsError
from invkit.explanation.explained import Explained
from invkit.interpretees.capture import untouched
from invkit.report.heatmaps import Heatmap, heatmap_sheet
from invkit.utils.random import generator_for

__all__ = ["Attribution", "attribute"]

_STEPS = 128  # of the integral
_WINDOWS = 7  # occluding windows that stand side by side across an image; each moves on by half its width
_PIXELS, _BATCH = 2**19, 64  # that a network works on at once, gradients included
_SOME = 256  # held-out images of the mean one
_Vectors = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Attribution:
    """Where in images a concept or a representation lies, and what may change where.

    Attributes:
        of: what was attributed, for instance ``the factor 'digit'``.
        images: (B, 3, S, S) in [0, 1].
        baseline: the image that attributions compare with, (B, 3, S, S).
        maps: captum's attributions by method, (B, S, S), signed: how far each pixel takes g on the way from its value
            in the baseline to that in the image, in units of g; see :meth:`Explanation.attribute`.
        spreads: invkit's own maps by what they show, (B, S, S): standard deviation of the pixel's intensity, which is
            0 to 1, over images; ≥ 0.
        distance: length of that way, ‖g(x) − g(baseline)‖, (B,). Integrated gradients sum to it.
    """

    of: str
    images: Tensor
    baseline: Tensor
    maps: Mapping[str, Tensor]
    spreads: Mapping[str, Tensor]
    distance: Tensor

    @property
    def caption(self) -> str:
        """What the picture shows, in words."""
        told = [_TOLD[name].format(of=self.of) for name in self.maps]
        told += ["Red: towards what it is in x; blue: away from it." if told else ""]
        told += [next(text for start, text in _SPREADS.items() if name.startswith(start)) for name in self.spreads]
        return " ".join(text for text in told if text)

    def plot(self) -> Figure:
        """Draw a row for each image: x, where the attributions find what was attributed, and what may change where."""
        columns = [
            Heatmap(f"{name} of {self.of}", values, "way from baseline to x") for name, values in self.maps.items()
        ]
        columns += [Heatmap(name, values, "std of intensity", signed=False) for name, values in self.spreads.items()]
        return heatmap_sheet(self.images, columns, self.caption)


_TOLD = {
    "integrated gradients": "Integrated gradients: how far each pixel takes {of} from what it is in a baseline image "
    "(the mean of other images, if none was given) to what it is in x; all pixels together make the whole way.",
    "occlusion": "Occlusion: how much of that way is lost where a window around the pixel shows the baseline instead.",
}
_SPREADS = {
    "left open": "Left open: how much a pixel varies over images that the layer cannot tell from x; where it is pale, "
    "the layer fixes the pixel.",
    "moves": "Moves: how much a pixel varies when this factor alone is exchanged for those of other images.",
}


def attribute(
    explanation: Explained,
    images: Tensor,
    *,
    concept: str | None,
    layer: str | None,
    methods: Sequence[str],
    baseline: Tensor | None,
    n: int,
    seed: int,
) -> Attribution:
    """Do what :meth:`Explanation.attribute` does, with images and baseline of the autoencoder's size."""
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
    explanation: Explained, images: Tensor, concept: str | None, layer: str | None, methods: Sequence[str], n: int
) -> None:
    """Refuse what cannot be attributed, before any work."""
    if len(images) == 0:
        raise DataError("There are no images", expected="at least one")
    if concept is not None and layer is not None:
        raise SettingsError("Either a concept or a layer is attributed", got=f"concept={concept!r}, layer={layer!r}")
    if concept is not None:
        explanation.semantic([concept])
        if not explanation.autoencoder.has_encoder:
            raise SettingsError(
                "A concept cannot be looked for in images that this autoencoder cannot encode",
                expected="an autoencoder with an encoder",
                got=type(explanation.autoencoder).__name__,
                hint="The layer's representation can be attributed: leave `concept` out.",
            )
    unknown = [name for name in methods if name not in _METHODS]
    if unknown or n < 2:
        raise SettingsError(
            "Attributions cannot be made so",
            expected=f"methods among {', '.join(_METHODS)}, and n ≥ 2",
            got=f"methods {', '.join(methods)}, n = {n}",
        )
    if methods and find_spec("captum") is None:
        raise PluginError(
            "Attributions need captum, which is not installed",
            hint="pip install captum; methods=() gives invkit's own maps without it.",
        )


def _mean_image(explanation: Explained) -> Tensor:
    """Return the mean held-out image, (1, 3, S, S)."""
    data = explanation.held_out.data
    return data.images(evenly_spaced(len(data), _SOME)).mean(0, keepdim=True)


def _fitted(baseline: Tensor, images: Tensor) -> Tensor:
    """Return a baseline for each image."""
    if len(baseline) not in (1, len(images)):
        raise DataError("The baseline does not fit", expected=f"1 image or {len(images)}", got=len(baseline))
    return baseline.detach().cpu().float().expand_as(images)


# ---- what is attributed: vectors g(x) of images, (B, 3, S, S) to (B, D), with gradients while torch records any


def _factor(explanation: Explained, concept: str) -> _Vectors:
    """Return e_i(E_μ(x)), the factor of a concept."""
    autoencoder, e = explanation.autoencoder, explanation.semantic([concept])

    def factor(images: Tensor) -> Tensor:
        recorded = torch.is_grad_enabled()
        with untouched(autoencoder, gradients=recorded), untouched(e, gradients=recorded):
            codes = autoencoder.encode(images.to(autoencoder.device)).mean.flatten(1)
            return e(codes.to(e.device)).value[:, e.slices[concept]].to(images.device)

    return factor


def _representation(explanation: Explained, layer: str) -> _Vectors:
    """Return Φ(x), flat."""
    interpretee = explanation.model

    def representation(images: Tensor) -> Tensor:
        give = interpretee.features if torch.is_grad_enabled() else interpretee.represent
        return give(images, [layer])[layer].flatten(1)

    return representation


class _Way:
    """The way of g from a baseline b to an image x, and how far along it other images are.

    Args:
        g: what is attributed.
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


# ---- captum's methods: a map (S, S) of one image each


def _integrated_gradients(way: _Way, batch: int) -> Tensor:
    """Sundararajan et al., 2017; the colours of a pixel are summed."""
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(way)
    found = method.attribute(way.image, way.baseline, n_steps=_STEPS, internal_batch_size=batch)
    return found.detach().sum((0, 1))


def _occlusion(way: _Way, batch: int) -> Tensor:
    """Zeiler and Fergus, 2014; a pixel has the mean over the windows that cover it."""
    from captum.attr import Occlusion

    side = max(2, way.image.shape[-1] // _WINDOWS)
    step = side // 2
    found = Occlusion(way).attribute(
        way.image, (3, side, side), (3, step, step), baselines=way.baseline, perturbations_per_eval=batch
    )
    return found.detach().mean((0, 1))  # all colours have the same


_METHODS: dict[str, Callable[[_Way, int], Tensor]] = {
    "integrated gradients": _integrated_gradients,
    "occlusion": _occlusion,
}


# ---- invkit's own maps


@torch.no_grad()
def _spreads(explanation: Explained, images: Tensor, concept: str | None, n: int, seed: int) -> dict[str, Tensor]:
    """Return where pixels vary: with the concept alone, and while the layer's representation stays as it is."""
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
    """Return the standard deviation of each pixel over images (n, 3, S, S), root mean square over colours, (S, S)."""
    return images.var(0).mean(0).sqrt()

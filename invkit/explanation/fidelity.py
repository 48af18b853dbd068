"""Fidelity of an explanation: samples passed through the model again, calibration of v, coverage of neighbours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from invkit.core import Estimate, Interpretee
from invkit.data import Codes, ImageSet, decode_all, evenly_spaced, latent_codes, represent_all
from invkit.errors import LayerError
from invkit.evaluation import (
    Features,
    Light,
    agreement,
    calibration,
    consistency,
    coverage,
    frechet_distance,
    kernel_distance,
    lights,
    order_disagreements,
)
from invkit.evaluation.consistency import other_rows
from invkit.evaluation.estimate import jackknife, mean_estimate
from invkit.interpretees import PerceptualDistance
from invkit.training import held_out_nll
from invkit.utils.random import generator_for
from invkit.utils.text import one_line

if TYPE_CHECKING:
    from invkit.explanation.explanation import Explanation

__all__ = [
    "FEWEST",
    "IMAGES",
    "TIMES_SENT",
    "Fidelity",
    "disagreement_text",
    "fidelity",
    "is_enough",
    "measure",
    "reconstruction_r2",
]

_DRAWN = 16  # codes drawn per image, for coverage
_SENT = 2  # of them decoded and passed through the model
IMAGES, TIMES_SENT = 128, 2 + _SENT  # images passed through it; for each itself, its reconstruction, its samples
FEWEST = 20  # independent held-out images
_BATCH = 64


@dataclass(frozen=True, repr=False)
class Fidelity:
    """How far an explanation can be trusted.

    Return value of :meth:`invkit.Explanation.fidelity`.

    Attributes:
        metrics: numbers, with their standard errors if known:
            `reconstruction`, R² of the autoencoder's reconstructions (1 − squared error / variance);
            `gain from z`, NLL(z̄ | z of another image) − NLL(z̄ | z) in nats per dimension;
            `energy of v`, `KS distance of v`, `dimensions of v rejected`, `correlation of v`: :class:`Calibration`;
            `neighbours covered`, `open among neighbours`: :class:`Coverage`;
            `diversity`, root mean square over pixels of the standard deviation of samples of one image, in [0, 1], and
            `diversity of` each concept, the share of its variance over images that samples of one image have;
            with the model `distance` and `rank` of samples at the layer (:class:`Consistency`), at each requested
            further layer (`distance at LAYER`) and at `output`, the same `of reconstructions`,
            `autoencoder's share` of the distance, and `agreement` of the largest output;
            `perceptual diversity`, and with `features` Fréchet and kernel distances of samples and reconstructions.
        lights: what that means.

    Example:
        >>> from invkit.evaluation import lights
        >>> from invkit.explanation import Fidelity
        >>> metrics = {"rank": Estimate(0.98, 0.004, n=256), "distance": Estimate(0.02, 0.001, n=256)}
        >>> Fidelity(metrics, lights(metrics))
        Fidelity(green=1, amber=0, red=0, metrics=2)
    """

    metrics: Mapping[str, Estimate | float]
    lights: Sequence[Light]

    def __repr__(self) -> str:
        colours = [light.colour for light in self.lights]
        counts = ", ".join(f"{colour}={colours.count(colour)}" for colour in ("green", "amber", "red"))
        return one_line(f"Fidelity({counts}, metrics={len(self.metrics)})")

    def __str__(self) -> str:
        return "\n".join(f"{light.colour:<6} {light.about}: {light.text}" for light in self.lights)

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{escape(x.about)}<td>{escape(x.colour)}<td>{escape(x.text)}" for x in self.lights)
        return f"<table>{rows}</table>"


def disagreement_text(explanation: Explanation) -> str:
    """Describe which concepts eq. 20 and the probe order differently; empty if none."""
    probes = {name: Estimate(**share) for name, share in explanation.metrics.get("probe", {}).items()}
    pairs = order_disagreements(explanation.concepts(), probes)
    if not pairs:
        return ""
    found = "; ".join(f"{a} above {b}" for a, b in pairs)
    return (
        f"At '{explanation.layer}', eq. 20 and the probe disagree in order: eq. 20 puts {found}, and the probe the "
        "other way round. What z alone determines is then the safer metric."
    )


def fidelity(
    explanation: Explanation,
    layers: Sequence[str] = (),
    features: Features | None = None,
    perceptual: PerceptualDistance | None = None,
    n: int = IMAGES,
    seed: int | None = None,
) -> Fidelity:
    """Implement :meth:`Explanation.fidelity`."""
    seed = explanation.seed if seed is None else seed
    asked = (tuple(layers), features, perceptual, n, seed)

    def metrics() -> dict[str, Estimate | float]:
        if asked == ((), None, None, IMAGES, explanation.seed) and "fidelity" in explanation.metrics:
            known = explanation.metrics["fidelity"].items()
            return {name: Estimate(**value) if isinstance(value, dict) else value for name, value in known}
        return measure(explanation, *asked)

    found = explanation.once(("fidelity", asked), metrics)
    if not found:
        few = f"Fewer than {FEWEST} independent held-out images are too few to evaluate on. Hold out more."
        return Fidelity(found, [Light("Anything", "red", few)])
    doubts = disagreement_text(explanation) if explanation.metrics.get("probe") else None
    return Fidelity(found, lights(found, doubts))


def is_enough(data: ImageSet) -> bool:
    """Return whether there are enough independent held-out images to evaluate an explanation on."""
    return len(data if data.groups is None else data.groups.unique()) >= FEWEST


@torch.no_grad()
def measure(
    explanation: Explanation,
    layers: Sequence[str] = (),
    features: Features | None = None,
    perceptual: PerceptualDistance | None = None,
    n: int = IMAGES,
    seed: int = 0,
) -> dict[str, Estimate | float]:
    """Compute the metrics of :class:`Fidelity` on n of the held-out images, those of v and of coverage on all.

    Empty if there are too few held-out images.
    """
    data, z, t = explanation.held_out.data, explanation.held_out.z, explanation.t
    if not is_enough(data):
        return {}
    codes = latent_codes(explanation.autoencoder, data)
    generator = generator_for(seed, "fidelity")
    h = t.condition(z, generator)
    v = torch.randn(len(z), _DRAWN, t.dim, generator=generator)
    drawn = t.inverse_given(v, h)
    known = explanation.metrics
    metrics: dict[str, Estimate | float] = {
        **({"information": float(known["information"])} if "information" in known else {}),
        "invariance": explanation.invariance(),
        **{f"diversity of {name}": 1 - share for name, share in explanation.determined().items()},
        **_likelihood(explanation, codes, seed),
        **_coverage(z, codes, drawn, data.groups, seed),
    }
    rows = evenly_spaced(len(data), n)
    some = data.take(rows)
    samples = decode_all(explanation.autoencoder, drawn[rows, :_SENT].flatten(0, 1)).unflatten(0, (-1, _SENT))
    made = {"": samples}
    if explanation.autoencoder.has_encoder:
        made[" of reconstructions"] = decode_all(explanation.autoencoder, codes.mean[rows])[:, None]
        metrics["reconstruction"] = reconstruction_r2(some.images(), made[" of reconstructions"][:, 0], some.groups)
    metrics |= _diversity(samples, some.groups, perceptual)
    if explanation.interpretee is not None:
        metrics |= _sent_back(explanation.interpretee, [explanation.layer, *layers], some, made)
    if features is not None:
        metrics |= _distances(features, some, made)
    return metrics


def _likelihood(explanation: Explanation, codes: Codes, seed: int) -> dict[str, Estimate | float]:
    z, groups, t = explanation.held_out.z, explanation.held_out.data.groups, explanation.t
    other = other_rows(len(z), groups, seed)
    found = mean_estimate((held_out_nll(t, codes, z[other]) - held_out_nll(t, codes, z)).double(), groups)
    generator = generator_for(seed, "calibration")
    v = torch.cat([
        t(codes[rows].sample(generator), t.perceive(z[rows], generator)).value
        for rows in torch.arange(len(z)).split(_BATCH)
    ])  # fmt: skip
    fit = calibration(v, groups)
    return {
        "gain from z": found,
        "energy of v": fit.energy,
        "KS distance of v": fit.ks,
        "KS distance of N(0, 1)": fit.ks_of_normal,
        "dimensions of v rejected": fit.rejected,
        "correlation of v": fit.correlation,
    }


def _coverage(z: Tensor, codes: Codes, drawn: Tensor, groups: Tensor | None, seed: int) -> dict[str, Estimate | float]:
    found = coverage(z, codes[slice(None)].sample(generator_for(seed, "codes")), drawn, groups, seed)
    return {
        "neighbours covered": found.covered,
        "open among neighbours": found.neighbours_open,
    }


def reconstruction_r2(images: Tensor, made: Tensor, groups: Tensor | None) -> Estimate:
    """Return R² of reconstructions, the share of the pixels' variance that they explain; both (M, 3, S, S)."""
    error, spread = ((images - other).square().flatten(1).sum(1) for other in (made, images.mean(0)))
    units = torch.stack([error, spread], 1).double()
    return jackknife(lambda m: 1 - m[..., 0] / m[..., 1].clamp(min=1e-12), units, len(images), groups)


def _diversity(samples: Tensor, groups: Tensor | None, perceptual: PerceptualDistance | None) -> dict[str, Any]:
    variance = samples.var(1).flatten(1).mean(1, keepdim=True).double()
    found = {"diversity": jackknife(lambda m: m[..., 0].clamp(min=0).sqrt(), variance, samples.shape[0], groups)}
    if perceptual is not None:
        apart = torch.cat([perceptual(part[:, 0], part[:, 1]).cpu() for part in samples.split(_BATCH)])
        found["perceptual diversity"] = mean_estimate(apart, groups)
    return found


def _sent_back(
    interpretee: Interpretee, layers: Sequence[str], data: ImageSet, made: Mapping[str, Tensor]
) -> dict[str, Estimate | float]:
    """Compare generated images, by name (M, n, 3, S, S), with their originals in the model's representations."""
    layers = [*dict.fromkeys([*layers, *_output(interpretee, data)])]
    own = represent_all(interpretee, layers, data)
    found: dict[str, Estimate | float] = {}
    of: dict[str, float] = {}
    chance = math.nan
    for name, images in made.items():
        seen = represent_all(interpretee, layers, ImageSet(images.flatten(0, 1)))
        for layer, values in seen.items():
            z, back = own[layer][slice(None)], values[slice(None)].unflatten(0, images.shape[:2])
            at = "" if layer == layers[0] else f" at {layer}"
            compared = consistency(z, back, data.groups)
            found |= {f"distance{name}{at}": compared.distance, f"rank{name}{at}": compared.rank}
            if layer == layers[0]:
                of[name] = compared.distance.value
            if layer == "output" and interpretee.is_decision(z):
                found[f"agreement{name}"], chance = agreement(z, back, data.groups)
    if not math.isnan(chance):
        found["agreement by chance"] = chance
    if len(of) > 1:
        found["autoencoder's share"] = min(1.0, of[" of reconstructions"] / max(of[""], 1e-12))
    return found


def _output(interpretee: Interpretee, data: ImageSet) -> list[str]:
    """Return the address of the model's output if it is one tensor; detectors return boxes."""
    try:
        interpretee.represent(data.images(slice(1)), ["output"])
    except LayerError:
        return []
    return ["output"]


def _distances(features: Features, some: ImageSet, made: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return Fréchet and kernel distances between held-out images and images generated from them."""
    real, found = features.of(some), {}
    for name, images in made.items():
        fake = features.of(images[:, 0])
        label = name or " of samples"
        found[f"Fréchet distance{label}"] = frechet_distance(real, fake, some.groups)
        found[f"kernel distance{label}"] = kernel_distance(real, fake, some.groups)
    return found

"""What an explanation can be trusted for, as lights: green, amber, red."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from invkit.core import Estimate

__all__ = ["Light", "lights"]

Colour = Literal["green", "amber", "red"]

_LITTLE, _MUCH = 0.02, 0.1  # shares of the codes' variance that t leaves open beyond what neighbours do


@dataclass(frozen=True)
class Light:
    """One thing that an explanation can be trusted for, or cannot.

    Attributes:
        about: what.
        colour: `green`, trust it; `amber`, mind what the text says; `red`, do not.
        text: why, with the numbers.
    """

    about: str
    colour: Colour
    text: str


def lights(metrics: Mapping[str, Estimate | float], disagreements: str | None = None) -> list[Light]:
    """Judge an explanation by its fidelity metrics.

    Args:
        metrics: as of :class:`invkit.explanation.Fidelity`; checks whose metrics are missing are left out.
        disagreements: where eq. 20 and the probe order concepts differently, or nothing; None without concepts.
    """
    told = {name: f"{value:.3f}" if isinstance(value, float) else str(value) for name, value in metrics.items()}
    f = {name: _exact(value) if isinstance(value, float) else value for name, value in metrics.items()}
    found = [*_autoencoder(f, told), *_uses(f, told), *_calibrated(f, told), *_consistent(f, told), *_varied(f, told)]
    if disagreements is not None:
        agree = "Eq. 20 and the probe order the concepts alike."
        found.append(Light("The concepts' order", "amber" if disagreements else "green", disagreements or agree))
    return found


def _worst(*colours: Colour) -> Colour:
    return max(colours, key=["green", "amber", "red"].index)


def _least(estimate: Estimate, green: float, amber: float) -> Colour:
    """Return red below `amber`, and green from `green` on where it is surely not red; nothing unknown is either."""
    if not estimate.is_known:
        return "amber"
    if estimate.value < amber:
        return "red"
    return "green" if estimate.value >= green and estimate.exceeds(amber) else "amber"


def _exact(value: float) -> Estimate:
    return Estimate(value, 0.0, 1)


def _autoencoder(f: Mapping[str, Estimate], told: Mapping[str, str]) -> Iterator[Light]:
    if "reconstruction" not in f:
        return
    colour = _least(f["reconstruction"], 0.9, 0.7)
    text = f"Reconstructions hold {told['reconstruction']} of the pixels' variance"
    if "agreement of reconstructions" in f:
        colour = _worst(colour, _least(f["agreement of reconstructions"], 0.9, 0.7))
        text += (
            f"; the model's largest output is the same for {told['agreement of reconstructions']} of them, and for "
            f"{told['agreement by chance']} of two different images"
        )
    yield Light("The images' codes", colour, f"{text}. What the code lost cannot be explained.")


def _uses(f: Mapping[str, Estimate], told: Mapping[str, str]) -> Iterator[Light]:
    if "gain from z" not in f:
        return
    gain, whole = f["gain from z"], f.get("information", _exact(1.0))
    missed = f["invariance"] - f["open among neighbours"]
    gained: Colour = "amber"
    if gain.is_known and whole.is_known:
        gained = "green" if gain.exceeds() and whole.exceeds() else "red"
    left: Colour = "green" if missed.value <= _LITTLE and (-missed).exceeds(-_MUCH) else "amber"
    colour = "red" if missed.exceeds(_MUCH) else _worst(gained, left)
    text = (
        f"A code is {told['gain from z']} nats per dimension more likely given its own representation than given "
        f"another image's{_than_none(told)}. Among nearest neighbours in z {told['open among neighbours']} of the "
        f"codes' variance is open, and t leaves {told['invariance']}."
    )
    if gained == "red":
        text += " Either the layer says nothing of the image, or t has not learned what it says."
    elif missed.exceeds(_LITTLE):
        text += " So t has missed something that the layer says."
    elif left == "amber":
        text += " That does not tell whether t has missed something that the layer says."
    yield Light("What t finds in the layer", colour, text)


def _than_none(told: Mapping[str, str]) -> str:
    return f", and {told['information']} nats in all more than given none" if "information" in told else ""


def _calibrated(f: Mapping[str, Estimate], told: Mapping[str, str]) -> Iterator[Light]:
    if "energy of v" not in f:
        return
    energy, ks, expected = (f[name] for name in ("energy of v", "KS distance of v", "KS distance of N(0, 1)"))
    colour = _worst(
        _least(energy, 1 / 1.15, 1 / 1.5),
        _least(-energy, -1.15, -1.5),
        _least(_exact(-ks.value / expected.value), -2, -4),
        _least(-f["correlation of v"], -0.1, -0.2),
    )
    text = (
        f"Of held-out images v = t(z̄ | z) has mean square {told['energy of v']} (1 at best), Kolmogorov–Smirnov "
        f"distance {told['KS distance of v']} to N(0, 1) ({told['KS distance of N(0, 1)']} expected), and correlations "
        f"of {told['correlation of v']} between dimensions (0)."
    )
    yield Light("Variances and likelihoods", colour, text)


def _consistent(f: Mapping[str, Estimate], told: Mapping[str, str]) -> Iterator[Light]:
    if "rank" not in f:
        return
    colour = _least(f["rank"], 0.95, 0.8)
    text = (
        f"The layer sees samples nearer to their image than {told['rank']} of other images are; their squared "
        f"distance is {told['distance']} of that between images"
    )
    if "distance of reconstructions" in f:
        text += f", {told['distance of reconstructions']} for reconstructions alone"
    if "agreement" in f:
        text += (
            f". The model's largest output is the same for {told['agreement']} of the samples, and for "
            f"{told['agreement by chance']} of two different images"
        )
    yield Light("Samples look the same to the layer", colour, f"{text}.")


def _varied(f: Mapping[str, Estimate], told: Mapping[str, str]) -> Iterator[Light]:
    if "neighbours covered" not in f:
        return
    colour = _least(f["neighbours covered"], 0.45, 0.35)
    text = (
        f"Samples come nearer to the images next in z than as many other images do for "
        f"{told['neighbours covered']} of them (0.5 by chance); they vary by {told['diversity']} of the pixels' range."
    )
    yield Light("Samples show all that is open", colour, text)

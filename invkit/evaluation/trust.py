"""Fidelity metrics as lights: green, amber, red."""

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
    """One aspect in which an explanation can be trusted, or cannot.

    Attributes:
        about: the aspect.
        colour: `green`, trust it; `amber`, read the text; `red`, do not.
        text: the reason, with the numbers.

    Example:
        >>> Light("The concepts' order", "green", "Eq. 20 and the probe order the concepts alike.").colour
        'green'
    """

    about: str
    colour: Colour
    text: str


def lights(metrics: Mapping[str, Estimate | float], disagreements: str | None = None) -> list[Light]:
    """Evaluate an explanation by its fidelity metrics.

    Args:
        metrics: as in :class:`invkit.explanation.Fidelity`; aspects whose metrics are missing are left out.
        disagreements: which concepts eq. 20 and the probe order differently, empty if none; None without concepts.

    Example:
        >>> found = lights({"rank": Estimate(0.7, 0.004, n=256), "distance": Estimate(0.4, 0.01, n=256)})
        >>> [(light.about, light.colour) for light in found]
        [('Samples look the same to the layer', 'red')]
    """
    shown = {name: f"{value:.3f}" if isinstance(value, float) else str(value) for name, value in metrics.items()}
    f = {name: _exact(value) if isinstance(value, float) else value for name, value in metrics.items()}
    found = [
        *_autoencoder(f, shown),
        *_uses(f, shown),
        *_calibrated(f, shown),
        *_consistent(f, shown),
        *_varied(f, shown),
    ]
    if disagreements is not None:
        agree = "Eq. 20 and the probe order the concepts alike."
        found.append(Light("The concepts' order", "amber" if disagreements else "green", disagreements or agree))
    return found


def _worst(*colours: Colour) -> Colour:
    return max(colours, key=["green", "amber", "red"].index)


def _least(estimate: Estimate, green: float, amber: float) -> Colour:
    """Return red below `amber`, green from `green` on if two errors above `amber`, otherwise amber."""
    if not estimate.is_known:
        return "amber"
    if estimate < amber:
        return "red"
    return "green" if estimate >= green and estimate.exceeds(amber) else "amber"


def _exact(value: float) -> Estimate:
    return Estimate(value, 0.0, 1)


def _autoencoder(f: Mapping[str, Estimate], shown: Mapping[str, str]) -> Iterator[Light]:
    if "reconstruction" not in f:
        return
    colour = _least(f["reconstruction"], 0.9, 0.7)
    text = f"Reconstructions explain {shown['reconstruction']} of the pixels' variance"
    if "agreement of reconstructions" in f:
        colour = _worst(colour, _least(f["agreement of reconstructions"], 0.9, 0.7))
        text += (
            f"; the model's largest output is the same for {shown['agreement of reconstructions']} of them, and for "
            f"{shown['agreement by chance']} of two different images"
        )
    yield Light("The images' codes", colour, f"{text}. What the code lost cannot be explained.")


def _uses(f: Mapping[str, Estimate], shown: Mapping[str, str]) -> Iterator[Light]:
    if "gain from z" not in f:
        return
    gain, whole = f["gain from z"], f.get("information", _exact(1.0))
    missed = f["invariance"] - f["open among neighbours"]
    gained: Colour = "amber"
    if gain.is_known and whole.is_known:
        gained = "green" if gain.exceeds() and whole.exceeds() else "red"
    left: Colour = "green" if missed <= _LITTLE and (-missed).exceeds(-_MUCH) else "amber"
    colour = "red" if missed.exceeds(_MUCH) else _worst(gained, left)
    text = (
        f"A code is {shown['gain from z']} nats per dimension more likely given its own representation than given "
        f"another image's{_total(shown)}. Among nearest neighbours in z {shown['open among neighbours']} of the "
        f"codes' variance is open, and t leaves {shown['invariance']}."
    )
    if gained == "red":
        text += " Either the layer has no information about the image, or t has not learned to use it."
    elif missed.exceeds(_LITTLE):
        text += " So t has missed information in the layer."
    elif left == "amber":
        text += " That leaves open whether t has missed information in the layer."
    yield Light("What t finds in the layer", colour, text)


def _total(shown: Mapping[str, str]) -> str:
    return f", and {shown['information']} nats in total more than given none" if "information" in shown else ""


def _calibrated(f: Mapping[str, Estimate], shown: Mapping[str, str]) -> Iterator[Light]:
    if "energy of v" not in f:
        return
    energy, ks, expected = (f[name] for name in ("energy of v", "KS distance of v", "KS distance of N(0, 1)"))
    colour = _worst(
        _least(energy, 1 / 1.15, 1 / 1.5),
        _least(-energy, -1.15, -1.5),
        _least(-ks / expected, -2, -4),
        _least(-f["correlation of v"], -0.1, -0.2),
    )
    text = (
        f"Of held-out images v = t(z̄ | z) has mean square {shown['energy of v']} (ideal: 1), Kolmogorov–Smirnov "
        f"distance {shown['KS distance of v']} to N(0, 1) ({shown['KS distance of N(0, 1)']} expected), and "
        f"correlations of {shown['correlation of v']} between dimensions (ideal: 0)."
    )
    yield Light("Variances and likelihoods", colour, text)


def _consistent(f: Mapping[str, Estimate], shown: Mapping[str, str]) -> Iterator[Light]:
    if "rank" not in f:
        return
    colour = _least(f["rank"], 0.95, 0.8)
    text = (
        f"The layer sees samples nearer to their image than {shown['rank']} of other images are; their squared "
        f"distance is {shown['distance']} of that between images"
    )
    if "distance of reconstructions" in f:
        text += f", {shown['distance of reconstructions']} for reconstructions alone"
    if "agreement" in f:
        text += (
            f". The model's largest output is the same for {shown['agreement']} of the samples, and for "
            f"{shown['agreement by chance']} of two different images"
        )
    yield Light("Samples look the same to the layer", colour, f"{text}.")


def _varied(f: Mapping[str, Estimate], shown: Mapping[str, str]) -> Iterator[Light]:
    if "neighbours covered" not in f:
        return
    colour = _least(f["neighbours covered"], 0.45, 0.35)
    text = (
        f"For {shown['neighbours covered']} of the images next in z (0.5 by chance) samples are closer than as many "
        f"random images; they vary by {shown['diversity']} of the pixels' range."
    )
    yield Light("Samples show all that is open", colour, text)

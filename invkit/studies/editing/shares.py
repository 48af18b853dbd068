"""Whether enough edits went as they should, and how far the judge that says so can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from invkit.core import Estimate
from invkit.evaluation import Light, lights
from invkit.explanation.fidelity import Fidelity
from invkit.studies.editing.edits import Edited

__all__ = ["ENOUGH", "judged_shares", "spelt", "trusted"]

ENOUGH = 0.9  # of the targets change, and of the others stay
_LEGIBLE = 0.5  # how well a judge must read a concept for its word to count, 1 being all right


def judged_shares(found: Mapping[str, Edited], reads: Mapping[str, float]) -> dict[str, tuple[Estimate, bool | None]]:
    """Return each share that should be high, and whether it is, beyond two standard errors; None where that is open.

    The error is at least what a share at the bound would have: that of a few images which all agree would be nothing.

    Args:
        found: edits by swapped concept.
        reads: how well the judge reads each concept, as of :func:`invkit.studies.judging.skill`.
    """
    shares: dict[str, tuple[Estimate, bool | None]] = {}
    for swapped, edited in found.items():
        for name in edited.changed:
            share = edited.rate(name) if name == swapped else edited.stayed(name)
            least = math.sqrt(ENOUGH * (1 - ENOUGH) / max(1, edited.alone))
            sure = replace(share, standard_error=max(share.standard_error, least))  # NaN stays, it comes first
            legible = min(reads[swapped], reads[name]) >= _LEGIBLE
            what = f"{name} changed" if name == swapped else f"{name} stayed while {swapped} was swapped"
            shares[what] = share, sure.exceeds(ENOUGH) if legible else None
    return shares


def spelt(shares: Mapping[str, tuple[Estimate, bool | None]]) -> str:
    """Say which of these shares are too low, and of which that is open."""
    told = []
    for known, words in ((False, f"Below {ENOUGH:.0%}"), (None, f"Neither known to be above {ENOUGH:.0%} nor below")):
        those = [f"{what} {share}" for what, (share, enough) in shares.items() if enough is known]
        told += [f"{words}: {'; '.join(those)}."] if those else []
    return " ".join(told) or f"Every share of invkit's is above {ENOUGH:.0%}."


def trusted(reconstruction: Estimate, reads: Mapping[str, float]) -> Fidelity:
    """Say how well the autoencoder draws images, and how well the judge reads what it draws."""
    held = {"reconstruction": reconstruction}
    worst = min(0.0 if math.isnan(score) else score for score in reads.values())
    told = ", ".join(f"{name} {score:.3f}" for name, score in reads.items())
    text = (
        f"How well it reads reconstructions of held-out images, 1 being all right and 0 chance (mean recall of "
        f"classes, so rescaled; R² of values): {told}. A concept below {_LEGIBLE} has no say."
    )
    judge = Light("The judge", "green" if worst >= ENOUGH else "amber" if worst >= _LEGIBLE else "red", text)
    metrics: dict[str, Estimate | float] = {
        **held,
        **{f"judge's reading of {name}": score for name, score in reads.items()},
    }
    return Fidelity(metrics, [*lights(held), judge])

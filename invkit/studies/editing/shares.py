"""Whether enough edits succeed, and how far their judge can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from invkit.core import Estimate
from invkit.evaluation import Light, lights
from invkit.explanation.fidelity import Fidelity
from invkit.studies.editing.edits import Edited

__all__ = ["ENOUGH", "judged_shares", "shares_text", "trusted"]

ENOUGH = 0.9  # share of swapped concepts that change, and of others that stay
_LEGIBLE = 0.5  # least skill of a judge for its readings of a concept to count; 1 is perfect


def judged_shares(found: Mapping[str, Edited], reads: Mapping[str, float]) -> dict[str, tuple[Estimate, bool | None]]:
    """Return each share that should be high, and whether it is by two standard errors; None if that is open.

    The error is at least that of a share at the bound: a few images that all agree would have none.

    Args:
        found: edits by swapped concept.
        reads: skill of the judge by concept, see :func:`invkit.studies.judging.skill`.
    """
    shares: dict[str, tuple[Estimate, bool | None]] = {}
    for swapped, edited in found.items():
        for name in edited.changed:
            share = edited.rate(name) if name == swapped else edited.stayed(name)
            least = math.sqrt(ENOUGH * (1 - ENOUGH) / max(1, edited.alone))
            sure = replace(share, standard_error=max(share.standard_error, least))  # a NaN that comes first stays
            legible = min(reads[swapped], reads[name]) >= _LEGIBLE
            what = f"{name} changed" if name == swapped else f"{name} stayed while {swapped} was swapped"
            shares[what] = share, sure.exceeds(ENOUGH) if legible else None
    return shares


def shares_text(shares: Mapping[str, tuple[Estimate, bool | None]]) -> str:
    """Return a text on which shares are too low, and for which that is open."""
    texts = []
    for known, words in ((False, f"Below {ENOUGH:.0%}"), (None, f"Neither significantly above {ENOUGH:.0%} nor below")):
        those = [f"{what} {share}" for what, (share, enough) in shares.items() if enough is known]
        texts += [f"{words}: {'; '.join(those)}."] if those else []
    return " ".join(texts) or f"All shares of invkit are above {ENOUGH:.0%}."


def trusted(reconstruction: Estimate, reads: Mapping[str, float]) -> Fidelity:
    """Return how well the autoencoder reconstructs images, and how well the judge reads reconstructions."""
    held = {"reconstruction": reconstruction}
    worst = min(0.0 if math.isnan(score) else score for score in reads.values())
    scores = ", ".join(f"{name} {score:.3f}" for name, score in reads.items())
    text = (
        f"Its skill on reconstructions of held-out images, where 1 is perfect and 0 is chance (rescaled mean recall of "
        f"classes, R² of values): {scores}. Concepts below {_LEGIBLE} do not count."
    )
    judge = Light("The judge", "green" if worst >= ENOUGH else "amber" if worst >= _LEGIBLE else "red", text)
    metrics: dict[str, Estimate | float] = {
        **held,
        **{f"judge's reading of {name}": score for name, score in reads.items()},
    }
    return Fidelity(metrics, [*lights(held), judge])

"""How far a change of the image moves a layer's representation and its samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from invkit.core import Estimate
from invkit.evaluation.consistency import other_rows
from invkit.evaluation.estimate import jackknife
from invkit.explanation import Explanation
from invkit.studies.attacking.trial import Trial
from invkit.utils.random import generator_for
from invkit.utils.resources import rows_in_memory

__all__ = ["Changes", "changes", "share"]

_EACH, _BATCH, _PART = 16, 64, 256  # draws of v per image; images per batch, in the model and in memory
_ROUNDING = 1e-10  # relative error of squares in float32, after a flow and its inverse
CAUSES = ("attack", "noise", "another image")


@dataclass(frozen=True)
class Changes:
    """How far attack, noise and another image move a layer's representation, samples and concepts.

    Attributes:
        distances: by quantity (`representation`, `samples`, each concept), (B, 3), one column per cause.
        codes: by cause, samples t⁻¹(v | ·), (B, n, N), at the same v.
        groups: (B,), images of one group are not independent.
    """

    distances: dict[str, Tensor]
    codes: dict[str, Tensor]
    groups: Tensor

    def estimate(self, what: str, cause: str) -> Estimate:
        """Return the mean distance relative to that to another image."""
        units, k = self.distances[what], CAUSES.index(cause)
        return jackknife(lambda m: share(m[..., k], m[..., 2]), units, len(units), self.groups)

    def to_dict(self) -> dict[str, Any]:
        """Return all estimates as JSON-able values."""
        return {
            what: {cause: vars(self.estimate(what, cause)) for cause in CAUSES[:2]} for what in self.distances
        }  # fmt: skip


def share(moved: Tensor, other: Tensor) -> Tensor:
    """Return a distance relative to that to another image; 0 if both are 0 (a t that ignores z)."""
    return moved / other.clamp(min=1e-12)


@torch.no_grad()
def changes(explanation: Explanation, trial: Trial, seed: int = 0) -> Changes:
    """Measure the changes of all images of a trial; all causes share v and the noise on z of an image."""
    t, e = explanation.t, explanation.e
    other = other_rows(len(trial), trial.groups, seed)
    far, conditions = _represented(explanation, trial, other, seed)
    v = torch.randn(len(trial), _EACH, t.dim, generator=generator_for(seed, "v of changes"))
    own, *moved = (t.inverse_given(v, h) for h in conditions)
    codes = dict(zip(CAUSES, moved, strict=True))
    distances = {
        "representation": far,
        "samples": torch.stack([_squared(moved, own) for moved in codes.values()], 1),
    }
    if e is not None:
        factors, moved = (
            [e(c.flatten(0, 1)).value.unflatten(0, c.shape[:2]) for c in part] for part in ([own], codes.values())
        )
        for name in e.concepts:
            place = e.slices[name]
            distances[name] = torch.stack([_squared(m[..., place], factors[0][..., place]) for m in moved], 1)
    return Changes({name: d.double() for name, d in distances.items()}, codes, trial.groups)


def _represented(explanation: Explanation, trial: Trial, other: Tensor, seed: int) -> tuple[Tensor, list[Tensor]]:
    """Represent clean and changed images, part by part, since z may be large.

    Returns:
        distance of z by cause, (B, 3); and h = H(z̃), (B, C), of the clean images and by cause.
    """
    t, generators = explanation.t, [generator_for(seed, "noise on z") for _ in range(1 + len(CAUSES))]
    far, conditions = [], []
    for rows in torch.arange(len(trial)).split(rows_in_memory(_PART, t.mean.shape)):
        images = [trial.clean[rows], trial.attacked[rows], trial.noisy[rows], trial.clean[other[rows]]]
        own, *moved = (torch.cat([explanation.represent(x) for x in part.split(_BATCH)]) for part in images)
        far.append(torch.stack([(z - own).flatten(1).norm(dim=1) for z in moved], 1))
        conditions.append([t.condition(z, g) for z, g in zip((own, *moved), generators, strict=True)])
    return torch.cat(far), [torch.cat(parts) for parts in zip(*conditions, strict=True)]


def _squared(moved: Tensor, own: Tensor) -> Tensor:
    """Return the mean over samples of ‖moved − own‖², (B, n, D) to (B,); 0 if it is a rounding error."""
    found, size = (x.square().sum(-1).mean(1) for x in (moved - own, own))
    return torch.where(found > _ROUNDING * size, found, 0.0)

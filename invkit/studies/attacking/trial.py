"""A trial of an attack: images that a network gets right, attacked, and changed by noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from invkit.core import Estimate, Interpretee
from invkit.data import ImageSet, evenly_spaced
from invkit.errors import DataError
from invkit.evaluation.estimate import mean_estimate
from invkit.studies.attacking.attacks import Attack, sign_noise
from invkit.studies.attacking.decisions import Decisions, decide_all
from invkit.utils.random import generator_for

__all__ = ["Trial", "logits_of", "right_decisions", "try_attack"]

_FEWEST = 8


@dataclass(frozen=True)
class Trial:
    """Images whose decision was right, and what became of it.

    Attributes:
        clean: x, (B, 3, S, S) in [0, 1].
        attacked: x + δ.
        noisy: x with noise of the same size.
        truth: (B,), right decision of each.
        decided: (B,), decision on the attacked image.
        flipped: (B,), whether the attack reached its end: another decision, or that of its target.
        flipped_by_noise: (B,), the same for noise.
        groups: (B,), images of one group depend on each other.
        accuracy: share of the images that the network gets right.
    """

    clean: Tensor
    attacked: Tensor
    noisy: Tensor
    truth: Tensor
    decided: Tensor
    flipped: Tensor
    flipped_by_noise: Tensor
    groups: Tensor
    accuracy: float

    def __len__(self) -> int:
        return len(self.clean)

    def take(self, rows: Tensor) -> Trial:
        """Return the trial of these rows, (n,) of numbers or (B,) of bool."""
        chosen: dict[str, Any] = {k: value[rows] for k, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **chosen)

    def mean(self, values: Tensor) -> Estimate:
        """Return that of a value of each image, (B,), with its standard error over groups."""
        return mean_estimate(values, self.groups)


def try_attack(
    interpretee: Interpretee,
    data: ImageSet,
    decisions: Decisions,
    attack: Attack,
    target: int | None = None,
    n: int = 400,
    seed: int = 0,
) -> Trial:
    """Attack up to n images that the network gets right, and of those none of the target's class.

    Args:
        interpretee: its output are logits.
        data: images.
        decisions: which are right.
        attack: what is done to them.
        target: what is to be decided for; None for any but the right one.
        n: largest number to attack.
        seed: of noise.

    Raises:
        DataError: hardly any, or all of one group.
    """
    rows, truth, accuracy = right_decisions(interpretee, data, decisions, target)
    rows = rows[evenly_spaced(len(rows), n)]
    groups = rows if data.groups is None else data.groups[rows]
    if len(groups.unique()) < 2:
        raise DataError(
            "The images to attack are all of one group",
            expected="images of two groups or more, since changes are compared with those to other images",
            got=f"{len(rows)} of one",
            hint="Attack more (`images`), or hold out more.",
        )
    images, right_ones = data.images(rows), truth[rows]
    goal = right_ones if target is None else torch.full_like(right_ones, target)
    attacked = attack(logits_of(interpretee), images, goal, targeted=target is not None)
    noisy = sign_noise(images, attack.epsilon, generator_for(seed, "noise of the attack's size"))
    after, noised = decide_all(interpretee, attacked), decide_all(interpretee, noisy)
    return Trial(
        images,
        attacked,
        noisy,
        right_ones,
        after,
        after != right_ones if target is None else after == target,
        noised != right_ones if target is None else noised == target,
        groups,
        accuracy,
    )


def right_decisions(
    interpretee: Interpretee, data: ImageSet, decisions: Decisions, target: int | None = None
) -> tuple[Tensor, Tensor, float]:
    """Say what the network gets right.

    Returns:
        rows of these images, none of the target's class, (n,); what is right for each image of the set, (N,); and the
        share of the set that it gets right.

    Raises:
        DataError: hardly any, or all of one group.
    """
    decided = decide_all(interpretee, data)
    concept = decisions.concept
    truth = decided if concept is None else decisions.outputs[data.concepts[concept].values]
    right = decided == truth
    rows = (right & (truth != target) if target is not None else right).nonzero().flatten()
    alone = len(rows if data.groups is None else data.groups[rows].unique())
    if len(rows) < _FEWEST or alone < 2:
        raise DataError(
            "The network decides rightly on too few images to attack them",
            expected=f"{_FEWEST} or more held-out images, of two groups or more",
            got=f"{len(rows)} of {len(data)}, of {alone} groups",
            hint="Check that the classes are named or numbered as in the network's output, or pass concept=None.",
        )
    return rows, truth, float(right.double().mean())


def logits_of(interpretee: Interpretee) -> Callable[[Tensor], Tensor]:
    """Return f, from images to logits (B, C), with gradients to the images.

    Calling it raises a LayerError where the model gives none.
    """
    return lambda images: interpretee.features(images, ["output"])["output"]

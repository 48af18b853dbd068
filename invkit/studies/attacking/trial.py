"""A trial of an attack: correctly classified images, attacked, and with noise of the same size."""

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
    """Correctly classified images, and the decisions after attack and noise.

    Attributes:
        clean: x, (B, 3, S, S) in [0, 1].
        attacked: x + δ.
        noisy: x with noise of the same size.
        truth: (B,), correct decisions.
        decided: (B,), decisions on the attacked images.
        flipped: (B,), whether the attack succeeded: another decision, or that of its target.
        flipped_by_noise: (B,), the same for noise.
        groups: (B,), images of one group are not independent.
        accuracy: the network's accuracy on all images.
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
        """Return the trial of some rows, indices (n,) or a mask (B,)."""
        chosen: dict[str, Any] = {k: value[rows] for k, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **chosen)

    def mean(self, values: Tensor) -> Estimate:
        """Return the mean of values (B,), with its standard error over groups."""
        return mean_estimate(values, self.groups)


def try_attack(
    interpretee: Interpretee,
    data: ImageSet,
    decisions: Decisions,
    attack: Attack,
    n: int = 400,
    seed: int = 0,
) -> Trial:
    """Attack up to n images that the network classifies correctly, except those of the target's class.

    Args:
        interpretee: the network; its output are logits.
        data: images.
        decisions: the correct ones.
        attack: the attack.
        n: largest number of images to attack.
        seed: seed of the noise.

    Raises:
        DataError: too few such images, or all of one group.
        SettingsError: no such target.
    """
    target = None if attack.target is None else decisions.number(attack.target)
    rows, truth, accuracy = right_decisions(interpretee, data, decisions, target)
    rows = rows[evenly_spaced(len(rows), n)]
    groups = rows if data.groups is None else data.groups[rows]
    if len(groups.unique()) < 2:
        raise DataError(
            "The images to attack are all of one group",
            expected="images of at least two groups, since changes are compared with those to other images",
            got=f"{len(rows)} of one",
            hint="Attack more images (`images`), or hold out more.",
        )
    images, right_ones = data.images(rows), truth[rows]
    goal = right_ones if target is None else torch.full_like(right_ones, target)
    attacked = attack(logits_of(interpretee), images, goal)
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
    """Find the images that the network classifies correctly.

    Returns:
        rows of these images, except those of the target's class, (n,); the correct decision of each image of the set,
        (N,); and the accuracy.

    Raises:
        DataError: too few such images, or all of one group.
    """
    decided = decide_all(interpretee, data)
    concept = decisions.concept
    truth = decided if concept is None else decisions.outputs[data.concepts[concept].values]
    right = decided == truth
    rows = (right & (truth != target) if target is not None else right).nonzero().flatten()
    alone = len(rows if data.groups is None else data.groups[rows].unique())
    if len(rows) < _FEWEST or alone < 2:
        raise DataError(
            "The network classifies too few images correctly to attack them",
            expected=f"at least {_FEWEST} held-out images, of at least two groups",
            got=f"{len(rows)} of {len(data)}, of {alone} groups",
            hint="Check that the classes are named or numbered as in the network's output, or pass concept=None.",
        )
    return rows, truth, float(right.double().mean())


def logits_of(interpretee: Interpretee) -> Callable[[Tensor], Tensor]:
    """Return the function from images to logits (B, C), with gradients to the images.

    The function raises a LayerError if the model has no gradients.
    """
    return lambda images: interpretee.features(images, ["output"])["output"]

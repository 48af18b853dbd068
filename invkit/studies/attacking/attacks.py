"""Attacks on a network's decision, by captum, and noise of the same size as a control."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from invkit.errors import PluginError, SettingsError

__all__ = ["Attack", "sign_noise"]

_BATCH = 64
_STRIDE, _STEPS = 2.5, 10  # of PGD: steps × step size in units of ε (Madry et al., 2018); default number of steps


@dataclass(frozen=True)
class Attack:
    """A change of an image by at most ε per value that changes a decision.

    Attributes:
        name: `fgsm`, one step along the sign of the gradient (Goodfellow et al., Explaining and harnessing
            adversarial examples, 2014), or `pgd`, several projected steps (Madry et al., Towards deep learning models
            resistant to adversarial attacks, 2018).
        epsilon: largest change of a value in [0, 1]; the default is that of the paper's authors.
        steps: number of steps of `pgd`; None for 10, and for 1 of `fgsm`.
        target: class to reach, by number or name; None for any wrong class.

    Raises:
        SettingsError: an unknown attack, a number out of its range, or several steps of `fgsm`.
        PluginError: captum is not installed.

    Example:
        >>> from invkit.studies import Attack
        >>> Attack("pgd", epsilon=0.01)
        Attack(name='pgd', epsilon=0.01, steps=10, target=None)
    """

    name: Literal["fgsm", "pgd"] = "fgsm"
    epsilon: float = 0.02
    steps: int | None = None
    target: int | str | None = None

    def __post_init__(self) -> None:
        if self.name not in ("fgsm", "pgd"):
            raise SettingsError("No such attack", expected="fgsm or pgd", got=self.name)
        if not 0 < self.epsilon <= 1:
            raise SettingsError("ε is out of range", expected="more than 0, at most 1", got=self.epsilon)
        if self.steps is None:
            object.__setattr__(self, "steps", 1 if self.name == "fgsm" else _STEPS)
        if self._count < 1:
            raise SettingsError("Too few steps of the attack", expected="1 or more", got=self.steps)
        if self.name == "fgsm" and self._count > 1:
            raise SettingsError("`fgsm` takes one step", expected="`pgd`, or no `steps`", got=f"steps={self.steps}")
        if find_spec("captum") is None:
            raise PluginError("Attacks need captum, which is not installed", hint="pip install captum")

    @property
    def _count(self) -> int:
        assert self.steps is not None  # since __post_init__
        return self.steps

    def __call__(self, decide: Callable[[Tensor], Tensor], images: Tensor, classes: Tensor) -> Tensor:
        """Return attacked images, (B, 3, S, S) in [0, 1].

        Args:
            decide: function from images to logits (B, C), with gradients.
            images: (B, 3, S, S) in [0, 1].
            classes: (B,), classes to reach if there is a target, else classes to leave.
        """
        pairs = zip(images.split(_BATCH), classes.split(_BATCH), strict=True)
        return torch.cat([self._perturb(decide, part.clone(), own) for part, own in pairs])

    def _perturb(self, decide: Callable[[Tensor], Tensor], images: Tensor, classes: Tensor) -> Tensor:
        from captum.robust import FGSM, PGD

        kind = FGSM if self.name == "fgsm" else PGD
        method = kind(decide, _cross_entropy, lower_bound=0.0, upper_bound=1.0)
        (method if self.name == "fgsm" else method.fgsm).zero_thresh = 0  # confident decisions have tiny gradients
        pgd = self.epsilon, _STRIDE * self.epsilon / self._count, self._count
        how = pgd[:1] if self.name == "fgsm" else pgd
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Input Tensor .* did not already require gradients")
            changed: Tensor = method.perturb(images, *how, classes, targeted=self.target is not None)
        return changed.detach()


def _cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    return F.cross_entropy(logits, classes, reduction="none")


def sign_noise(images: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
    """Add +ε or −ε at random to each value of images, clamped to [0, 1]."""
    signs = 2 * torch.randint(2, images.shape, generator=generator).to(images) - 1
    return (images + epsilon * signs).clamp(0, 1)

"""Attacks on a network's decision, by captum, and noise of the same size to tell them from."""

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
_STRIDE = 2.5  # of PGD: steps × step size, in units of ε (Madry et al., Towards deep learning models..., 2018)


@dataclass(frozen=True)
class Attack:
    """A small change of images, at most ε in each value, that changes a decision.

    Attributes:
        name: `fgsm`, one step along the sign of the gradient (Goodfellow et al., Explaining and harnessing
            adversarial examples, 2014), or `pgd`, many of them.
        epsilon: largest change of a value in [0, 1].
        steps: of `pgd`.

    Raises:
        SettingsError: an unknown attack, or a number out of its range.
        PluginError: captum is missing.
    """

    name: Literal["fgsm", "pgd"] = "fgsm"
    epsilon: float = 0.02
    steps: int = 10

    def __post_init__(self) -> None:
        if self.name not in ("fgsm", "pgd"):
            raise SettingsError("No such attack", expected="fgsm or pgd", got=self.name)
        if not 0 < self.epsilon <= 1:
            raise SettingsError("ε is out of range", expected="more than 0, at most 1", got=self.epsilon)
        if self.steps < 1:
            raise SettingsError("Too few steps of the attack", expected="1 or more", got=self.steps)
        if find_spec("captum") is None:
            raise PluginError("Attacks need captum, which is not installed", hint="pip install captum")

    def __call__(
        self, decide: Callable[[Tensor], Tensor], images: Tensor, classes: Tensor, *, targeted: bool = False
    ) -> Tensor:
        """Attack images, (B, 3, S, S) in [0, 1].

        Args:
            decide: gives logits (B, C) with gradients.
            images: (B, 3, S, S) in [0, 1].
            classes: (B,), the decisions to leave, or to reach.
            targeted: whether to reach them.
        """
        pairs = zip(images.split(_BATCH), classes.split(_BATCH), strict=True)
        return torch.cat([self._perturb(decide, part.clone(), wanted, targeted) for part, wanted in pairs])

    def _perturb(self, decide: Callable[[Tensor], Tensor], images: Tensor, classes: Tensor, targeted: bool) -> Tensor:
        from captum.robust import FGSM, PGD

        kind = FGSM if self.name == "fgsm" else PGD
        method = kind(decide, _cross_entropy, lower_bound=0.0, upper_bound=1.0)
        (method if self.name == "fgsm" else method.fgsm).zero_thresh = 0  # sure decisions have gradients below 10⁻⁶
        how = [self.epsilon] if self.name == "fgsm" else [self.epsilon, _STRIDE * self.epsilon / self.steps, self.steps]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Input Tensor .* did not already require gradients")
            changed: Tensor = method.perturb(images, *how, classes, targeted=targeted)
        return changed.detach()


def _cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    return F.cross_entropy(logits, classes, reduction="none")


def sign_noise(images: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
    """Change every value of images by +ε or −ε at random, as far as [0, 1] allows."""
    signs = 2 * torch.randint(2, images.shape, generator=generator).to(images) - 1
    return (images + epsilon * signs).clamp(0, 1)

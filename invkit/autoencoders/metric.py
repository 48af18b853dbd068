"""The image metric: pixels, a network's features, and a discriminator's losses (paper, sec. A.1, table S4)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invkit.interpretees import PerceptualDistance
from invkit.utils.autograd import frozen

__all__ = ["ImageMetric", "adaptive_weight", "critic_loss", "generator_loss"]

_LARGEST = 1e4  # of the adaptive weight


@dataclass(frozen=True)
class ImageMetric:
    """d(x, x̂): the mean error of pixel values, plus a perceptual distance, if any.

    Attributes:
        pixel: `l2` (squares) or `l1` (magnitudes).
        perceptual: None for pixels alone.
        weight: of the perceptual distance.

    Example:
        >>> import torch
        >>> metric = ImageMetric("l1")
        >>> gamma = metric.terms(torch.zeros(2, 3, 8, 8), torch.full((2, 3, 8, 8), 0.5))["pixel"]
        >>> gamma
        tensor(0.5000)
        >>> metric.nll(gamma)  # log 0.5 + 1 + log 2
        tensor(1.)
    """

    pixel: Literal["l1", "l2"] = "l2"
    perceptual: PerceptualDistance | None = None
    weight: float = 1.0

    def terms(self, images: Tensor, others: Tensor) -> dict[str, Tensor]:
        """Return the parts of d, in float32, averaged over a batch of pairs (B, 3, S, S) in [0, 1]."""
        error = others.float() - images.float()
        terms = {"pixel": (error.abs() if self.pixel == "l1" else error.square()).mean()}
        if self.perceptual is not None:
            with torch.autocast(images.device.type, enabled=False):
                terms["perceptual"] = self.weight * self.perceptual(images, others.float()).mean()
        return terms

    def nll(self, gamma: Tensor) -> Tensor:
        """Return −log p(x | z̄) in nats for each value of an image, for γ = d, its maximum-likelihood scale.

        p is a normal distribution of variance γ for `l2`, and a Laplace distribution of scale γ for `l1`. The
        perceptual distance is broadcast over all values (paper, sec. A.1).
        """
        if self.pixel == "l2":
            return 0.5 * (gamma.log() + 1 + math.log(2 * math.pi))
        return gamma.log() + 1 + math.log(2)


def generator_loss(critic: nn.Module, fakes: Tensor) -> Tensor:
    """Return the cross-entropy of reconstructions with the label `real`; no gradient reaches the critic."""
    with frozen(critic):
        logits: Tensor = critic(fakes)
    return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))


def critic_loss(critic: nn.Module, images: Tensor, fakes: Tensor) -> Tensor:
    """Return the mean cross-entropy of images and reconstructions; no gradient reaches the autoencoder."""
    real, fake = critic(images), critic(fakes.detach())
    on_real = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
    return 0.5 * (on_real + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake)))


def adaptive_weight(likelihood: Tensor, adversarial: Tensor, last_layer: nn.Parameter) -> Tensor:
    """Return ‖∇ likelihood‖ / (‖∇ adversarial‖ + 10⁻⁴), at most 10⁴, gradients at the decoder's last layer.

    It balances the two terms (Esser et al., iin, 2020).
    """
    norms = [torch.autograd.grad(loss, last_layer, retain_graph=True)[0].norm() for loss in (likelihood, adversarial)]
    return (norms[0] / (norms[1] + 1e-4)).clamp(max=_LARGEST).detach()

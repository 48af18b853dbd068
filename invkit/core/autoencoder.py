"""The contract of an autoencoder: images to a complete code z̄ and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Autoencoder", "Posterior"]


@dataclass(frozen=True)
class Posterior:
    """A diagonal normal distribution over codes, N(E_μ(x), diag E_σ²(x)).

    Attributes:
        mean: (B, N), or (B, C, H, W) where codes are maps.
        std: of the same shape, positive.
    """

    mean: Tensor
    std: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw one code for each image, with a generator on any device."""
        device = self.mean.device if generator is None else generator.device
        noise = torch.empty_like(self.mean, device=device).normal_(generator=generator)
        return self.mean + self.std * noise.to(self.mean.device)

    def kl(self) -> Tensor:
        """Return the KL divergence of each dimension from N(0, 1), in nats, of the shape of a code."""
        return 0.5 * (self.mean.square() + self.std.square() - 1 - 2 * self.std.log())


class Autoencoder(nn.Module, ABC):
    """A stochastic encoder E and a decoder D with D(z̄) ≈ x for z̄ ~ E(x) (paper, sec. 3.1).

    Attributes:
        image_size: side of the images that it decodes to, in pixels.
        latent_shape: shape of one code, without the batch axis: (N,) for a vector, (C, H, W) for a map.
        config: JSON-able arguments that build the same module again.
        has_encoder: False for a generator, whose images are made of codes that are drawn
            (:class:`invkit.data.Generated`) and whose :meth:`encode` raises an InvkitError.
    """

    image_size: int
    latent_shape: tuple[int, ...]
    config: dict[str, Any]
    has_encoder: bool = True

    @property
    def device(self) -> torch.device:
        """Where it is; everything else of invkit is on the CPU."""
        return next((parameter.device for parameter in self.parameters()), torch.device("cpu"))

    @abstractmethod
    def encode(self, images: Tensor) -> Posterior:
        """Return the distribution of codes of images (B, 3, S, S) in [0, 1]."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Return the images (B, 3, S, S) in [0, 1] of codes (B, *latent_shape)."""

"""The contract of an autoencoder: images to complete codes z̄ and back."""

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
        mean: (B, N), or (B, C, H, W) for codes that are maps.
        std: of the same shape, positive.

    Example:
        >>> import torch
        >>> from invkit.core import Posterior
        >>> posterior = Posterior(torch.zeros(2, 4), torch.ones(2, 4))
        >>> posterior.sample(torch.Generator().manual_seed(0)).shape, posterior.kl().sum()
        (torch.Size([2, 4]), tensor(0.))
    """

    mean: Tensor
    std: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw one code for each image, with a generator on any device, or with torch's global one."""
        device = self.mean.device if generator is None else generator.device
        noise = torch.empty_like(self.mean, device=device).normal_(generator=generator)
        return self.mean + self.std * noise.to(self.mean.device)

    def kl(self) -> Tensor:
        """Return the KL divergence of each dimension from N(0, 1), in nats, (B, N) or (B, C, H, W)."""
        return 0.5 * (self.mean.square() + self.std.square() - 1 - 2 * self.std.log())


class Autoencoder(nn.Module, ABC):
    """A stochastic encoder E and a decoder D with D(z̄) ≈ x for z̄ ~ E(x) (paper, sec. 3.1).

    :func:`invkit.testing.check_autoencoder` checks that an implementation

    - decodes codes of N(0, 1), and three times those, to finite float32 images (B, 3, S, S) in [0, 1], S `image_size`;
    - encodes images to a posterior with finite float32 `mean` and `std` of shape (B, *latent_shape), `std` positive;
    - encodes and decodes each row of a batch alone in evaluation mode, to 1e-3 of the largest value;
    - has gradients of the decoded images in the parameters of D, in the code and, through a drawn code, in every
      parameter of E that the code depends on;
    - is restored by ``load_state_dict``, and built again by ``type(a)(**a.config)`` with a `config` that survives JSON.

    Checks of the encoder are skipped without one.

    Attributes:
        image_size: side S of the images, in pixels.
        latent_shape: shape of one code, without the batch axis: (N,) for a vector, (C, H, W) for a map.
        config: JSON-able arguments that build the same module again.
        has_encoder: False for a generator, whose images are decoded from codes that are drawn
            (:class:`invkit.data.Generated`) and whose :meth:`encode` raises an InvkitError.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from invkit.core import Autoencoder, Posterior
        >>> class Dense(Autoencoder):
        ...     image_size, latent_shape = 8, (4,)
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.config = {}
        ...         self.encoder, self.decoder = nn.Linear(192, 8), nn.Linear(4, 192)
        ...     def encode(self, images):
        ...         mean, log_std = self.encoder(images.flatten(1)).chunk(2, 1)
        ...         return Posterior(mean, log_std.exp())
        ...     def decode(self, latents):
        ...         return self.decoder(latents).sigmoid().unflatten(1, (3, 8, 8))
        >>> from invkit.testing import check_autoencoder
        >>> check_autoencoder(Dense()).passed
        True
    """

    image_size: int
    latent_shape: tuple[int, ...]
    config: dict[str, Any]
    has_encoder: bool = True

    @property
    def device(self) -> torch.device:
        """Device of the parameters; images and codes that are passed must be there too."""
        return next((parameter.device for parameter in self.parameters()), torch.device("cpu"))

    @abstractmethod
    def encode(self, images: Tensor) -> Posterior:
        """Return the distribution of codes of images (B, 3, S, S) in [0, 1]."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Return the images (B, 3, S, S) in [0, 1] of codes (B, *latent_shape)."""

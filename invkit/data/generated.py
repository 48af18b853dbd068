"""Images that a decoder makes from known codes when they are read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from invkit.core import Autoencoder

__all__ = ["Generated"]

_BATCH = 16  # images decoded at once


@dataclass(frozen=True)
class Generated:
    """Images of an :class:`ImageSet` that a decoder makes from known codes when their rows are read.

    Attributes:
        autoencoder: its decoder makes the images.
        latents: code of each image, (N, *latent_shape), on the CPU.

    Example:
        >>> import torch
        >>> from invkit.autoencoders import ConvAutoencoder
        >>> from invkit.data import Generated, ImageSet
        >>> images = ImageSet(Generated(ConvAutoencoder(28, 8, 8), torch.randn(5, 8)))
        >>> images.images(slice(2)).shape
        torch.Size([2, 3, 28, 28])
    """

    autoencoder: Autoencoder
    latents: Tensor

    def __len__(self) -> int:
        return len(self.latents)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, 3, S, S)."""
        size = self.autoencoder.image_size
        return len(self), 3, size, size

    def select(self, rows: Tensor | slice) -> Generated:
        """Return a subset without decoding it."""
        return Generated(self.autoencoder, self.latents[rows])

    @torch.no_grad()
    def __getitem__(self, rows: Tensor | slice, /) -> Tensor:
        """Decode images, (B, 3, S, S) float32 in [0, 1], on the CPU."""
        self.autoencoder.eval()
        batches = self.latents[rows].to(self.autoencoder.device).split(_BATCH)
        return torch.cat([self.autoencoder.decode(batch).cpu() for batch in batches])

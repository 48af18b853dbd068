"""Images that a decoder makes of known codes, in place of stored ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from invkit.core import Autoencoder

__all__ = ["Generated"]

_CHUNK = 16  # images made at once


@dataclass(frozen=True)
class Generated:
    """Stands in for the pixels of an :class:`ImageSet`: made anew whenever they are asked for, so that none is stored.

    Attributes:
        autoencoder: its decoder makes them.
        latents: code of each, (N, *latent_shape), on the CPU.
    """

    autoencoder: Autoencoder
    latents: Tensor

    def __len__(self) -> int:
        return len(self.latents)

    def __getitem__(self, rows: Tensor | slice) -> Generated:
        return Generated(self.autoencoder, self.latents[rows])

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, 3, S, S)."""
        size = self.autoencoder.image_size
        return len(self), 3, size, size

    @torch.no_grad()
    def read(self) -> Tensor:
        """Make them, float32 in [0, 1], (N, 3, S, S), on the CPU."""
        self.autoencoder.eval()
        parts = self.latents.to(self.autoencoder.device).split(_CHUNK)
        return torch.cat([self.autoencoder.decode(part).cpu() for part in parts])

"""The task of training an autoencoder (paper, sec. A.1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from invkit.core import Autoencoder
from invkit.data.imageset import ImageSet
from invkit.seeds import generator_for
from invkit.training.loop import Task

__all__ = ["AutoencoderTask", "psnr"]


def psnr(images: Tensor, others: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each pair of images in [0, 1], in dB, (B,)."""
    return -10 * (images - others).square().flatten(1).mean(1).clamp(min=1e-10).log10()


class AutoencoderTask(Task):
    """Minimise, for each image with D values, D/2 · log γ + D/2 + KL, with γ the batch's mean squared error.

    That γ is the maximum-likelihood output variance of the batch, the optimum of the paper's learned γ at
    every step (Rybkin et al., σ-VAE, 2021): nothing to tune and no lag behind the decoder.

    Args:
        module: the autoencoder.
        data: training images.
        held_out: images to judge by.
    """

    def __init__(self, module: Autoencoder, data: ImageSet, held_out: ImageSet) -> None:
        self.title, self.module, self.rows = "autoencoder", module, len(data)
        self._data, self._held_out = data, held_out.take(torch.arange(min(len(held_out), 512)))

    def loss(self, module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Give the loss in nats per image value."""
        return _elbo(module, self._data.images(rows), generator)

    def held_out(self, module: nn.Module) -> float:
        """Give the same of held-out images."""
        return float(_elbo(module, self._held_out.images(), generator_for(0, "held-out")))


def _elbo(module: nn.Module, images: Tensor, generator: torch.Generator) -> Tensor:
    assert isinstance(module, Autoencoder)
    posterior = module.encode(images)
    error = (module.decode(posterior.sample(generator)) - images).square().mean()
    kl = 0.5 * (posterior.mean.square() + posterior.std.square() - 1 - 2 * posterior.std.log())
    values = images[0].numel()
    return 0.5 * (error.log() + 1 + math.log(2 * math.pi)) + kl.flatten(1).sum(1).mean() / values

"""The task of training an autoencoder (paper, sec. A.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from invkit.autoencoders.discriminator import PatchDiscriminator
from invkit.autoencoders.metric import ImageMetric, adaptive_weight, critic_loss, generator_loss
from invkit.core import Autoencoder
from invkit.data.augment import random_flip_and_crop
from invkit.data.imageset import ImageSet, evenly_spaced
from invkit.training.task import Task
from invkit.utils.random import generator_for
from invkit.utils.resources import in_batches

__all__ = ["AutoencoderTask"]

_HELD_OUT, _BATCH = 512, 64


class AutoencoderTask(Task):
    """Minimise −log p(x | z̄) + KL / D for each of an image's D values, plus a discriminator's loss, if any.

    γ is the maximum-likelihood scale of the batch, which is the optimum of the paper's learned γ at every step (Rybkin
    et al., σ-VAE, 2021). It needs no tuning and does not lag behind the decoder.

    Args:
        autoencoder: E and D.
        data: training images.
        held_out: validation images.
        metric: the distance of an image and its reconstruction; None for squared errors.
        critic: the discriminator, which is trained too; None for none.
        critic_from: step from which it contributes to the loss.
        kl_weight: of the KL divergence from the prior; 1 is the paper's.
        augment: mirror and crop training images.

    Attributes:
        metric: as above; it may be set until training begins.

    Example:
        >>> import torch, invkit
        >>> images = invkit.ImageSet(torch.rand(8, 3, 28, 28))
        >>> task = AutoencoderTask(invkit.ConvAutoencoder(28, latent_dim=8, width=4), images, images)
        >>> loss = task.loss(task.module, torch.arange(4), torch.Generator().manual_seed(0))
        >>> sorted(task.terms)
        ['KL', 'pixel', 'γ']
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        data: ImageSet,
        held_out: ImageSet,
        metric: ImageMetric | None = None,
        *,
        critic: PatchDiscriminator | None = None,
        critic_from: int = 0,
        kl_weight: float = 1.0,
        augment: bool = False,
    ) -> None:
        self.title, self.rows = "autoencoder", len(data)
        self.module = autoencoder if critic is None else nn.ModuleDict({"autoencoder": autoencoder, "critic": critic})
        self._data, self._held_out = data, held_out.take(evenly_spaced(len(held_out), _HELD_OUT))
        self.metric, self._critic_from = metric or ImageMetric(), critic_from
        self._kl_weight, self._augment = kl_weight, augment
        self.keep_last = critic is not None  # the best likelihood is that of a step before the critic contributed

    @property
    def parts(self) -> list[nn.Module]:
        """Autoencoder and critic, whose gradients are clipped separately."""
        return list(self.module.children()) if isinstance(self.module, nn.ModuleDict) else [self.module]

    @staticmethod
    def autoencoder_in(module: nn.Module) -> Autoencoder:
        """Return the autoencoder of the task's module, or of a copy of it."""
        found = module["autoencoder"] if isinstance(module, nn.ModuleDict) else module
        assert isinstance(found, Autoencoder)
        return found

    def loss(self, module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of a batch in nats per image value, plus the critic's, which share no gradient."""
        images = self._data.images(rows)
        if self._augment:
            images = random_flip_and_crop(images, generator)
        autoencoder = self.autoencoder_in(module)
        images = images.to(autoencoder.device)
        likelihood, kl, fakes, terms = self._elbo(autoencoder, images, generator)
        loss = likelihood + kl
        if isinstance(module, nn.ModuleDict) and self.step >= self._critic_from:
            critic = module["critic"]
            adversarial = generator_loss(critic, fakes)
            weight = adaptive_weight(likelihood, adversarial, _last_layer(autoencoder))
            discriminator_loss = critic_loss(critic, images, fakes)
            loss = loss + weight * adversarial + discriminator_loss
            terms |= {"generator": adversarial, "adaptive weight": weight, "discriminator": discriminator_loss}
        self.terms = {name: float(value.detach()) for name, value in terms.items()}
        return loss

    def _elbo(
        self, autoencoder: Autoencoder, images: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Return −log p(x | z̄) and KL in nats per value, the reconstructions, and the terms to log."""
        posterior = autoencoder.encode(images)
        fakes = autoencoder.decode(posterior.sample(generator))
        terms = self.metric.terms(images, fakes)
        gamma = torch.stack([*terms.values()]).sum()
        nats = posterior.kl().flatten(1).sum(1).mean()
        terms |= {"γ": gamma, "KL": nats}
        return self.metric.nll(gamma), self._kl_weight * nats / images[0].numel(), fakes, terms

    def validation_loss(self, module: nn.Module) -> float:
        """Return the loss of the validation images in nats per image value, without the discriminator."""
        autoencoder, generator = self.autoencoder_in(module), generator_for(0, "held-out")

        def loss(rows: slice) -> float:
            images = self._held_out.images(rows).to(autoencoder.device)
            likelihood, kl, *_ = self._elbo(autoencoder, images, generator)
            return float(likelihood + kl) * len(images)

        return sum(in_batches(loss, len(self._held_out), _BATCH)) / len(self._held_out)


def _last_layer(autoencoder: Autoencoder) -> nn.Parameter:
    """Return the weight of the decoder's last layer; decoders are registered after encoders, from code to image."""
    return [parameter for parameter in autoencoder.parameters() if parameter.ndim > 1][-1]

"""The autoencoder of photographs: a ResNet as encoder, BigGAN's generator as decoder (paper, table S7)."""

from __future__ import annotations

import itertools

import torch
import torchvision
from torch import Tensor, nn

from invkit.autoencoders.biggan import PLANS, BigGAN
from invkit.core import Autoencoder, Posterior
from invkit.errors import SettingsError
from invkit.interpretees import IMAGENET

__all__ = ["BigAutoencoder"]


class BigAutoencoder(Autoencoder):
    """E: a ResNet's trunk, average pooling, FC to (μ, log σ²). D: BigGAN, conditioned on the code z̄ alone.

    z̄ → 3 × (FC, LReLU) → FC, softmax is a distribution over classes, whose mean embedding h conditions every block.
    The first chunk of z̄ becomes the first 4×4 map, and each block is also conditioned on another chunk.

    Args:
        image_size: side in pixels: 32, 64, 128, 256 or 512.
        latent_dim: N, dimension of z̄.
        width: channels of the generator's last block at 128 px.
        encoder: torchvision's name of a ResNet.
        classes: number of classes of the softmax.
        hidden: width of the perceptron before the softmax: 256 in the paper's table, 2000 in the authors' weights.
        twice_normalised: whether the encoder's images are normalised twice, as in the authors' weights.

    Raises:
        SettingsError: another size, no ResNet, or a code that is too short for the blocks.

    Example:
        >>> import torch
        >>> autoencoder = BigAutoencoder(32, latent_dim=20, width=4, encoder="resnet18", classes=10).eval()
        >>> posterior = autoencoder.encode(torch.rand(1, 3, 32, 32))
        >>> posterior.mean.shape, autoencoder.decode(posterior.mean).shape
        (torch.Size([1, 20]), torch.Size([1, 3, 32, 32]))
    """

    def __init__(
        self,
        image_size: int = 128,
        latent_dim: int = 128,
        width: int = 96,
        encoder: str = "resnet101",
        *,
        classes: int = 1000,
        hidden: int = 256,
        twice_normalised: bool = False,
    ) -> None:
        super().__init__()
        _check(image_size, latent_dim, encoder)
        self.config = {
            "image_size": image_size,
            "latent_dim": latent_dim,
            "width": width,
            "encoder": encoder,
            "classes": classes,
            "hidden": hidden,
            "twice_normalised": twice_normalised,
        }
        self.image_size, self.latent_shape = image_size, (latent_dim,)
        self._twice = twice_normalised
        self.trunk = torchvision.models.get_model(encoder)
        self.trunk.fc = nn.Linear(self.trunk.fc.in_features, 2 * latent_dim)
        self.to_class = nn.Sequential()
        for a, b in itertools.pairwise((latent_dim, hidden, hidden, hidden)):
            self.to_class.extend([nn.Linear(a, b), nn.LeakyReLU()])
        self.to_class.append(nn.Linear(hidden, classes))
        self.generator = BigGAN(image_size, width, classes, latent_dim)

    def encode(self, images: Tensor) -> Posterior:
        """Return N(E_μ(x), diag E_σ²(x)) of images (B, 3, S, S) in [0, 1]; log σ² is clamped to [−30, 10]."""
        x = IMAGENET(images)
        if self._twice:
            x = IMAGENET((x + 1) / 2)  # treats the normalised image as one in [−1, 1]
        raw: Tensor = self.trunk(x.contiguous(memory_format=torch.channels_last)).float()
        mean, log_variance = raw.chunk(2, 1)
        return Posterior(mean, (0.5 * log_variance.clamp(-30, 10)).exp())

    def decode(self, latents: Tensor) -> Tensor:
        """Return images (B, 3, S, S) in [0, 1] of codes (B, N)."""
        h = self.to_class(latents).softmax(1) @ self.generator.embeddings_of_classes
        images: Tensor = self.generator(latents, h)
        return (images.float() + 1) / 2


def _check(image_size: int, latent_dim: int, encoder: str) -> None:
    if image_size not in PLANS:
        raise SettingsError(
            "This autoencoder does not make images of that size",
            expected=" or ".join(f"{size}" for size in PLANS) + " px",
            got=f"{image_size} px",
        )
    if latent_dim < len(PLANS[image_size][0]):
        raise SettingsError(
            "The code is too short: every block of the decoder needs a chunk of it",
            expected=f"latent_dim ≥ {len(PLANS[image_size][0])}",
            got=latent_dim,
        )
    names = torchvision.models.list_models(torchvision.models, include=["resnet*", "wide_resnet*", "resnext*"])
    if encoder not in names:
        raise SettingsError("The encoder must be a ResNet of torchvision", expected=", ".join(names), got=encoder)

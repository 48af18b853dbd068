"""The convolutional variational autoencoder of table S1, for square images of 28 to 64 px."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from invkit.core import Autoencoder, Posterior
from invkit.errors import SettingsError

__all__ = ["ConvAutoencoder"]


class ConvAutoencoder(Autoencoder):
    """Table S1, generalised: halve the image down to 7 or 8 px, with 64, 128, 128 … channels, then FC, and back.

    Convolutions are 4×4 with stride 2. The paper leaves Norm and LReLU open; here they are batch normalisation and a
    slope of 0.2. At 28 px and `width` 64 the shapes are exactly those of the table.

    Args:
        image_size: side in pixels, 28 to 64.
        latent_dim: N, dimension of z̄.
        width: channels after the first convolution.

    Raises:
        SettingsError: image_size outside 28…64.

    Example:
        >>> import torch
        >>> autoencoder = ConvAutoencoder(image_size=28, latent_dim=16, width=8).eval()
        >>> posterior = autoencoder.encode(torch.rand(2, 3, 28, 28))
        >>> posterior.mean.shape, autoencoder.decode(posterior.mean).shape
        (torch.Size([2, 16]), torch.Size([2, 3, 28, 28]))
    """

    def __init__(self, image_size: int = 28, latent_dim: int = 64, width: int = 64) -> None:
        super().__init__()
        if not 28 <= image_size <= 64:
            raise SettingsError(
                "This autoencoder does not take the image size",
                expected="28 to 64 px",
                got=f"{image_size} px",
                hint="Pass `size=` between 28 and 64, or an autoencoder of your own.",
            )
        self.config = {"image_size": image_size, "latent_dim": latent_dim, "width": width}
        self.image_size, self.latent_shape = image_size, (latent_dim,)
        sizes = [image_size]
        while sizes[-1] > 8:
            sizes.append(sizes[-1] // 2)
        widths = [3, width] + [2 * width] * (len(sizes) - 2)
        self.encoder = nn.Sequential()
        for a, b in itertools.pairwise(widths):
            self.encoder.extend([nn.Conv2d(a, b, 4, 2, 1), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)])
        self._inner = (widths[-1], sizes[-1], sizes[-1])
        flat = widths[-1] * sizes[-1] ** 2
        self.to_posterior = nn.Linear(flat, 2 * latent_dim)
        self.from_latent = nn.Linear(latent_dim, flat)
        self.decoder = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.LeakyReLU(0.2))
        steps = list(zip(widths[::-1][:-1], widths[::-1][1:], sizes[::-1][:-1], sizes[::-1][1:], strict=True))
        for a, b, small, large in steps:
            self.decoder.append(nn.ConvTranspose2d(a, b, 4, 2, 1, output_padding=large - 2 * small))
            self.decoder.extend([nn.BatchNorm2d(b), nn.LeakyReLU(0.2)] if b != 3 else [nn.Tanh()])

    def encode(self, images: Tensor) -> Posterior:
        """Return N(E_μ(x), diag E_σ²(x)) of images (B, 3, S, S) in [0, 1]; log σ² is softly bounded to (−14, 6)."""
        x = (2 * images - 1).contiguous(memory_format=torch.channels_last)
        raw = self.to_posterior(self.encoder(x).flatten(1)).float()
        mean, log_variance = raw.chunk(2, -1)
        return Posterior(mean, (0.5 * (10 * torch.tanh((log_variance + 4) / 10) - 4)).exp())

    def decode(self, latents: Tensor) -> Tensor:
        """Return images (B, 3, S, S) in [0, 1] of codes (B, N)."""
        x = self.from_latent(latents).unflatten(1, self._inner)
        images: Tensor = self.decoder(x.contiguous(memory_format=torch.channels_last))
        return (images.float() + 1) / 2

"""Representations and codes of all images, computed once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from invkit.core import Autoencoder, Interpretee, Posterior
from invkit.data.generated import Generated
from invkit.data.imageset import ImageSet
from invkit.progress import Progress

__all__ = ["decode_all", "encode_all", "represent_all"]

_BATCH = 128
_PIXELS = 2**19  # that an autoencoder works on at once: 128 images of 64 px, 8 of 256


@torch.no_grad()
def encode_all(autoencoder: Autoencoder, data: ImageSet) -> Posterior:
    """Give the posterior of the code of every image, (M, N) in data order; maps are flattened.

    Of images that this autoencoder made it is their own code.
    """
    if isinstance(data.pixels, Generated) and data.pixels.autoencoder is autoencoder:
        own = data.pixels.latents.flatten(1)
        return Posterior(own, torch.zeros_like(own))
    autoencoder.eval()
    size = _batch_of(autoencoder)
    parts = [
        autoencoder.encode(data.images(slice(k, k + size)).to(autoencoder.device)) for k in range(0, len(data), size)
    ]
    mean, std = torch.cat([p.mean for p in parts]), torch.cat([p.std for p in parts])
    return Posterior(mean.flatten(1).cpu(), std.flatten(1).cpu())


@torch.no_grad()
def decode_all(autoencoder: Autoencoder, latents: Tensor) -> Tensor:
    """Give the images (M, 3, S, S) of flat codes (M, N), on the CPU, part by part."""
    codes = latents.to(autoencoder.device).unflatten(1, autoencoder.latent_shape)
    return torch.cat([autoencoder.decode(part).cpu() for part in codes.split(_batch_of(autoencoder))])


def _batch_of(autoencoder: Autoencoder) -> int:
    return max(1, min(_BATCH, _PIXELS // autoencoder.image_size**2))


def represent_all(
    interpretee: Interpretee, layers: Sequence[str], data: ImageSet, *, progress: bool = True
) -> dict[str, Tensor]:
    """Give Φ(x) of every image at every layer, in one pass over the images, (N, …) float32."""
    out: dict[str, Tensor] = {}
    bar = Progress("representations", len(data), show=progress)
    for k in range(0, len(data), _BATCH):
        images = data.images(slice(k, k + _BATCH))
        for layer, z in interpretee.represent(images, layers).items():
            if layer not in out:
                out[layer] = torch.empty(len(data), *z.shape[1:])
            out[layer][k : k + len(images)] = z
        bar.advance(len(images))
    bar.close()
    return out

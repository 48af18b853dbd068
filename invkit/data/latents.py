"""Representations and codes of all images, computed once."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from invkit.core import Autoencoder, Interpretee, Posterior
from invkit.data.generated import Generated
from invkit.data.imageset import ImageSet
from invkit.data.latent_store import LatentSpec, fill_stores, open_stores
from invkit.data.storage import Codes, Rows
from invkit.errors import LayerError
from invkit.utils.resources import in_batches

__all__ = ["check_finite", "decode_all", "encode_all", "latent_codes", "represent_all"]

_BATCH = 128
_PIXELS = 2**19  # of a batch: 128 images of 64 px, 8 of 256


@torch.no_grad()
def encode_all(autoencoder: Autoencoder, data: ImageSet) -> Posterior:
    """Encode all images: the posterior of each code, (N, D) in memory, in data order; spatial codes are flattened.

    The codes of images that this autoencoder generated are known: their posterior has a standard deviation of 0.

    Example:
        >>> import torch
        >>> from invkit.autoencoders import ConvAutoencoder
        >>> from invkit.data import ImageSet, encode_all
        >>> encode_all(ConvAutoencoder(28, 8, 8), ImageSet(torch.rand(5, 3, 28, 28))).mean.shape
        torch.Size([5, 8])
    """
    known = _known_codes(autoencoder, data)
    if known is not None:
        return known[slice(None)]
    batches = in_batches(lambda rows: _encode(autoencoder, data, rows), len(data), _batch_of(autoencoder.image_size**2))
    return Posterior(torch.cat([p.mean for p in batches]), torch.cat([p.std for p in batches]))


def _known_codes(autoencoder: Autoencoder, data: ImageSet) -> Codes | None:
    """Return the codes from which this autoencoder generated the images, if it did."""
    if not isinstance(data.pixels, Generated) or data.pixels.autoencoder is not autoencoder:
        return None
    codes = data.pixels.latents.flatten(1)
    return Codes(codes, torch.zeros_like(codes))


def _encode(autoencoder: Autoencoder, data: ImageSet, rows: slice) -> Posterior:
    autoencoder.eval()
    posterior = autoencoder.encode(data.images(rows).to(autoencoder.device))
    return Posterior(posterior.mean.flatten(1).cpu(), posterior.std.flatten(1).cpu())


@torch.no_grad()
def latent_codes(autoencoder: Autoencoder, data: ImageSet, folder: Path | None = None) -> Codes:
    """Encode all images as :func:`encode_all`, into storage that is read by rows.

    Args:
        autoencoder: E.
        data: N images.
        folder: named after all that decides the codes; None for memory, or a temporary file if they are too large.

    Raises:
        LayerError: codes that are not finite.
        ArtefactError: the disk is full.

    Example:
        >>> import torch
        >>> from invkit.autoencoders import ConvAutoencoder
        >>> from invkit.data import ImageSet, latent_codes
        >>> codes = latent_codes(ConvAutoencoder(28, 8, 8), ImageSet(torch.rand(5, 3, 28, 28)))
        >>> codes[torch.tensor([4, 0])].std.shape
        torch.Size([2, 8])
    """
    known = _known_codes(autoencoder, data)
    if known is not None:
        return known

    def compute(rows: slice, _: Sequence[str]) -> Mapping[str, Mapping[str, Tensor]]:
        posterior = vars(_encode(autoencoder, data, rows))
        for values in posterior.values():
            check_finite("The autoencoder's code", values, data.indices_of(rows))
        return {"codes": posterior}

    shape = (math.prod(autoencoder.latent_shape),)
    about = {"kind": "codes", "of": type(autoencoder).__name__}
    stores = open_stores(len(data), {"codes": LatentSpec({"mean": shape, "std": shape}, folder, about)})
    fill_stores(stores, compute, title="codes", lock=folder, batch=_batch_of(autoencoder.image_size**2))
    return Codes(stores["codes"]["mean"], stores["codes"]["std"])


@torch.no_grad()
def decode_all(autoencoder: Autoencoder, latents: Tensor) -> Tensor:
    """Decode flat codes (N, D) batch by batch into images (N, 3, S, S) on the CPU, float32 in [0, 1].

    Example:
        >>> import torch
        >>> from invkit.autoencoders import ConvAutoencoder
        >>> from invkit.data import decode_all
        >>> decode_all(ConvAutoencoder(28, 8, 8), torch.randn(5, 8)).shape
        torch.Size([5, 3, 28, 28])
    """
    autoencoder.eval()
    codes = latents.to(autoencoder.device).unflatten(1, autoencoder.latent_shape)
    batch = _batch_of(autoencoder.image_size**2)
    return torch.cat(in_batches(lambda rows: autoencoder.decode(codes[rows]).cpu(), len(codes), batch))


def _batch_of(pixels: int) -> int:
    """Return the batch size for images of so many pixels: larger batches exceed a CPU's cache."""
    return max(1, min(_BATCH, _PIXELS // pixels))


def represent_all(
    interpretee: Interpretee, layers: Sequence[str], data: ImageSet, folder: Path | None = None
) -> dict[str, Rows]:
    """Compute z = Φ(x) of all images at all layers in one pass, into storage that is read by rows.

    Args:
        interpretee: Φ.
        layers: addresses.
        data: N images.
        folder: named after all that decides Φ(x) but the layer; None for memory, or a temporary file if too large.

    Returns:
        z by layer, (N, …) float32.

    Raises:
        LayerError: as :meth:`Interpretee.represent`, or a representation that is not finite.
        ArtefactError: the disk is full.

    Example:
        >>> import torch
        >>> from invkit.data import ImageSet, represent_all
        >>> from invkit.interpretees import ModuleInterpretee, Preprocess
        >>> model = ModuleInterpretee(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)), Preprocess())
        >>> z = represent_all(model, ["0"], ImageSet(torch.rand(5, 3, 28, 28)))
        >>> z["0"][torch.tensor([4, 0])].shape
        torch.Size([2, 4, 26, 26])
    """
    if not layers:
        return {}
    shapes = {layer: tuple(z.shape[1:]) for layer, z in interpretee.represent(data.images(slice(2)), layers).items()}

    def compute(rows: slice, wanted: Sequence[str]) -> Mapping[str, Mapping[str, Tensor]]:
        found = interpretee.represent(data.images(rows), wanted)
        for layer, z in found.items():
            check_finite(f"The representation at '{layer}'", z, data.indices_of(rows))
        return {layer: {"z": z} for layer, z in found.items()}

    specs = {
        layer: LatentSpec(
            {"z": shape},
            None if folder is None else folder / _folder_name(layer),
            {"kind": "representations", "of": f"{interpretee!r} {layer}", "shape": shape},
        )
        for layer, shape in shapes.items()
    }
    stores = open_stores(len(data), specs)
    pixels = math.prod(interpretee.input_shape or (data.size, data.size))
    batch = _BATCH if _on_gpu(interpretee) else _batch_of(pixels)
    fill_stores(stores, compute, title="representations", lock=folder, batch=batch)
    return {layer: store["z"] for layer, store in stores.items()}


def _on_gpu(interpretee: Interpretee) -> bool:
    """Whether a model is on a GPU; False if it is not a torch module, where that is unknown."""
    module = getattr(interpretee, "module", None)
    return isinstance(module, nn.Module) and any(parameter.is_cuda for parameter in module.parameters())


def _folder_name(layer: str) -> str:
    """Return a readable and unique folder name for a layer."""
    return f"{re.sub(r'[^A-Za-z0-9.]+', '-', layer)[:40]}-{hashlib.sha256(layer.encode()).hexdigest()[:8]}"


def check_finite(what: str, values: Tensor, indices: Tensor | None = None) -> None:
    """Raise an error if latents contain NaN or infinity.

    Args:
        what: name of the latents, for the message.
        values: (B, …).
        indices: (B,), index of each image in the data; None counts from 0.

    Raises:
        LayerError: values that are not finite.

    Example:
        >>> import torch
        >>> from invkit.data import check_finite
        >>> check_finite("The representation", torch.zeros(2, 3))
    """
    bad = (~values.isfinite().flatten(1).all(1)).nonzero().flatten()
    if len(bad):
        first = int(bad[0] if indices is None else indices[bad[0]])
        raise LayerError(
            f"{what} is not finite for {len(bad)} of {len(values)} images, the first at index {first}",
            expected="finite numbers",
            hint="Check weights and preprocessing; in half precision, use float32.",
        )

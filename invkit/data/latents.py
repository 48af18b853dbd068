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
from invkit.data.rows import Codes, Rows
from invkit.data.store import Place, fill, latent_stores
from invkit.errors import LayerError
from invkit.utils.resources import in_batches

__all__ = ["check_finite", "decode_all", "encode_all", "latent_codes", "represent_all"]

_BATCH = 128
_PIXELS = 2**19  # that a network works on at once: 128 images of 64 px, 8 of 256


@torch.no_grad()
def encode_all(autoencoder: Autoencoder, data: ImageSet) -> Posterior:
    """Return the posterior of the code of every image, (M, N) in data order, in memory; maps are flattened.

    Of images that this autoencoder made it is their own code.
    """
    size = _fitting(autoencoder.image_size**2)
    own = _own_codes(autoencoder, data)
    if own is not None:
        return own[slice(None)]
    parts = in_batches(lambda rows: _encode(autoencoder, data, rows), len(data), size)
    return Posterior(torch.cat([p.mean for p in parts]), torch.cat([p.std for p in parts]))


def _own_codes(autoencoder: Autoencoder, data: ImageSet) -> Codes | None:
    """Return the codes that images were made of, if this autoencoder made them."""
    if not isinstance(data.pixels, Generated) or data.pixels.autoencoder is not autoencoder:
        return None
    own = data.pixels.latents.flatten(1)
    return Codes(own, torch.zeros_like(own))


def _encode(autoencoder: Autoencoder, data: ImageSet, rows: slice) -> Posterior:
    """Encode some images."""
    autoencoder.eval()
    found = autoencoder.encode(data.images(rows).to(autoencoder.device))
    return Posterior(found.mean.flatten(1).cpu(), found.std.flatten(1).cpu())


@torch.no_grad()
def latent_codes(autoencoder: Autoencoder, data: ImageSet, folder: Path | None = None) -> Codes:
    """Return the posterior of the code of every image, as :func:`encode_all`, in files if a folder is given.

    Args:
        autoencoder: E.
        data: N images.
        folder: named after all that decides the codes.

    Raises:
        LayerError: codes that are not finite.
        ArtefactError: the disk is full.
    """
    own = _own_codes(autoencoder, data)
    if own is not None:
        return own

    def compute(rows: slice, _: Sequence[str]) -> Mapping[str, Mapping[str, Tensor]]:
        found = vars(_encode(autoencoder, data, rows))
        for values in found.values():
            check_finite("The autoencoder's code", values, data.indices_of(rows))
        return {"codes": found}

    size = int(torch.Size(autoencoder.latent_shape).numel())
    about = {"kind": "codes", "of": type(autoencoder).__name__}
    stores = latent_stores(len(data), {"codes": Place({"mean": (size,), "std": (size,)}, folder, about)})
    fill(stores, compute, title="codes", lock=folder, batch=_fitting(autoencoder.image_size**2))
    return Codes(stores["codes"]["mean"], stores["codes"]["std"])


@torch.no_grad()
def decode_all(autoencoder: Autoencoder, latents: Tensor) -> Tensor:
    """Return the images (M, 3, S, S) of flat codes (M, N), on the CPU, part by part."""
    autoencoder.eval()
    codes = latents.to(autoencoder.device).unflatten(1, autoencoder.latent_shape)
    size = _fitting(autoencoder.image_size**2)
    return torch.cat(in_batches(lambda rows: autoencoder.decode(codes[rows]).cpu(), len(codes), size))


def _fitting(pixels: int) -> int:
    """Return the batch size for images of so many pixels: larger batches do not fit a CPU's cache."""
    return max(1, min(_BATCH, _PIXELS // pixels))


def represent_all(
    interpretee: Interpretee,
    layers: Sequence[str],
    data: ImageSet,
    folder: Path | None = None,
) -> dict[str, Rows]:
    """Return Φ(x) of every image at every layer, (N, …) float32, from one pass over the images.

    Args:
        interpretee: Φ.
        layers: addresses.
        data: N images.
        folder: named after all that decides Φ(x) but the layer; None for memory, or temporary files if it is short.

    Raises:
        LayerError: as of :meth:`Interpretee.represent`, or a representation that is not finite.
        ArtefactError: the disk is full.
    """
    if not layers:
        return {}
    shapes = {layer: tuple(z.shape[1:]) for layer, z in interpretee.represent(data.images(slice(2)), layers).items()}

    def compute(rows: slice, wanted: Sequence[str]) -> Mapping[str, Mapping[str, Tensor]]:
        found = interpretee.represent(data.images(rows), wanted)
        for layer, z in found.items():
            check_finite(f"The representation at '{layer}'", z, data.indices_of(rows))
        return {layer: {"z": z} for layer, z in found.items()}

    places = {
        layer: Place(
            {"z": shape},
            None if folder is None else folder / _as_name(layer),
            {"kind": "representations", "of": f"{interpretee!r} {layer}", "shape": shape},
        )
        for layer, shape in shapes.items()
    }
    stores = latent_stores(len(data), places)
    pixels = math.prod(interpretee.input_shape or (data.size, data.size))
    batch = _BATCH if _on_gpu(interpretee) else _fitting(pixels)
    fill(stores, compute, title="representations", lock=folder, batch=batch)
    return {layer: store["z"] for layer, store in stores.items()}


def _on_gpu(interpretee: Interpretee) -> bool:
    """Whether a model is on a GPU; of one without a module of torch that is not known."""
    module = getattr(interpretee, "module", None)
    return isinstance(module, nn.Module) and any(parameter.is_cuda for parameter in module.parameters())


def _as_name(layer: str) -> str:
    """Return a folder's name for a layer: readable, and its own."""
    return f"{re.sub(r'[^A-Za-z0-9.]+', '-', layer)[:40]}-{hashlib.sha256(layer.encode()).hexdigest()[:8]}"


def check_finite(what: str, values: Tensor, numbers: Tensor | None = None) -> None:
    """Refuse latents with NaN or infinity.

    Args:
        what: the latents.
        values: (B, …).
        numbers: (B,), place of each image in the data; None counts from 0.

    Raises:
        LayerError: there are some.
    """
    bad = (~values.isfinite().flatten(1).all(1)).nonzero().flatten()
    if len(bad):
        first = int(bad[0] if numbers is None else numbers[bad[0]])
        raise LayerError(
            f"{what} is not finite for {len(bad)} of {len(values)} images, the first at index {first}",
            expected="finite numbers",
            hint="Check weights and preprocessing; in half precision, use float32.",
        )

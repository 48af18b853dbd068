"""An `ImageSet` as tensors and JSON, for files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from invkit.core import Autoencoder
from invkit.data.concepts import Concept
from invkit.data.generated import Generated
from invkit.data.imageset import ImageSet

__all__ = ["images_from_tensors", "images_to_tensors"]


def images_to_tensors(data: ImageSet, autoencoder: Autoencoder) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return an image set as tensors, and its concepts' kinds and names as JSON.

    Images that the autoencoder's decoder makes are returned as their codes, which no encoder could find again.
    """
    pixels = data.pixels
    if isinstance(pixels, Generated) and pixels.autoencoder is autoencoder:
        tensors = {"latents": pixels.latents}
    else:
        tensors = {"pixels": pixels if isinstance(pixels, Tensor) else torch.cat(list(data.uint8_batches()))}
    tensors |= {f"concept/{name}": concept.values for name, concept in data.concepts.items()}
    tensors |= {} if data.groups is None else {"groups": data.groups}
    return tensors, {name: {"kind": c.kind, "names": list(c.names)} for name, c in data.concepts.items()}


def images_from_tensors(
    tensors: Mapping[str, Tensor], concepts: Mapping[str, Any], autoencoder: Autoencoder
) -> ImageSet:
    """Return the image set of which :func:`images_to_tensors` made these tensors and this JSON."""
    pixels = Generated(autoencoder, tensors["latents"]) if "latents" in tensors else tensors["pixels"]
    known = {
        name: Concept(about["kind"], tensors[f"concept/{name}"], tuple(about["names"]))
        for name, about in concepts.items()
    }
    return ImageSet(pixels, known, tensors.get("groups"))

"""Images with their concepts and groups: the form in which data enter the rest of invkit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from invkit.data.concepts import Concept, check_names
from invkit.data.generated import Generated
from invkit.data.storage import StoredImages, concatenate_images
from invkit.errors import DataError
from invkit.utils.io import ChunkedTensor, content_hash
from invkit.utils.random import generator_for
from invkit.utils.text import one_line

__all__ = ["ImageSet", "evenly_spaced", "to_uint8"]

_BATCH = 256


def to_uint8(images: Tensor) -> Tensor:
    """Convert images in [0, 1] to uint8, rounded.

    Example:
        >>> import torch
        >>> from invkit.data import to_uint8
        >>> to_uint8(torch.tensor([0.0, 0.5, 1.0]))
        tensor([  0, 128, 255], dtype=torch.uint8)
    """
    return (images.clamp(0, 1) * 255).round().byte()


def evenly_spaced(total: int, n: int) -> Tensor:
    """Return n row numbers from 0 to total − 1 at even distances; all of them if n is larger.

    Example:
        >>> from invkit.data import evenly_spaced
        >>> evenly_spaced(101, 3)
        tensor([  0,  50, 100])
    """
    return torch.linspace(0, total - 1, min(n, total)).long()


@dataclass(frozen=True, repr=False)
class ImageSet:
    """N images of one size, with named concepts.

    :func:`invkit.as_image_set` builds one from folders, arrays, data sets and loaders.

    Args:
        pixels: (N, 3, S, S), uint8 or float in [0, 1]: a tensor, or images that are read
            (:class:`StoredImages`) or generated (:class:`Generated`) by rows.
        concepts: the value of each image, by name of the concept.
        groups: (N,) group numbers. A train/test split never divides a group, for instance one original in several
            colours, or all photographs of one person. None if each image stands alone.
        indices: (N,) index of each image in the data it was read from, for messages; None if it is the row number.

    Raises:
        DataError: concepts, groups or indices that do not match the number of images.

    Example:
        >>> import torch
        >>> from invkit.data import ImageSet, as_concept
        >>> labels = {"digit": as_concept("digit", [0, 1, 0, 1, 0, 1])}
        >>> images = ImageSet(torch.rand(6, 3, 28, 28), labels)
        >>> images
        ImageSet(6 images of 28 px, concepts=['digit'])
        >>> len(images), images.size
        (6, 28)
        >>> train, test = images.split(0.34, seed=0)
        >>> len(train), len(test)
        (4, 2)
        >>> images.images(slice(2)).shape
        torch.Size([2, 3, 28, 28])
    """

    pixels: Tensor | StoredImages | Generated
    concepts: Mapping[str, Concept] = field(default_factory=dict)
    groups: Tensor | None = None
    indices: Tensor | None = None

    def __post_init__(self) -> None:
        check_names(self.concepts)
        for name, concept in self.concepts.items():
            if not isinstance(concept, Concept):
                raise DataError(
                    f"The labels of '{name}' are not a concept",
                    expected="a Concept",
                    got=type(concept).__name__,
                    hint="`invkit.as_image_set(images, concepts={...})` takes labels of any kind.",
                )
            self._check_length(f"The concept '{name}'", concept.values)
        for what, values in (("`groups`", self.groups), ("`indices`", self.indices)):
            if values is not None:
                self._check_length(what, values)

    def _check_length(self, what: str, values: Tensor) -> None:
        if len(values) != len(self.pixels):
            raise DataError(
                f"{what} does not match the images",
                expected=f"{len(self.pixels)} values, one for each image",
                got=len(values),
                hint="Pass them in the order of the images.",
            )

    def __len__(self) -> int:
        return len(self.pixels)

    def __repr__(self) -> str:
        groups = "" if self.groups is None else f", {len(self.groups.unique()):,} groups"
        about = f"{len(self):,} images of {self.size} px, concepts={list(self.concepts)}{groups}"
        return one_line(f"{type(self).__name__}({about})")

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return self.pixels.shape[-1]

    def images(self, rows: Tensor | slice | None = None) -> Tensor:
        """Return images as float32 in [0, 1], (B, 3, S, S).

        Args:
            rows: row numbers (B,) or a slice; None for all images.
        """
        pixels = self.pixels[slice(None) if rows is None else rows]
        return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()

    def batches(self, size: int = _BATCH) -> Iterator[Tensor]:
        """Iterate over all images in batches, (B, 3, S, S) float32 in [0, 1]."""
        return (self.images(slice(k, k + size)) for k in range(0, len(self), size))

    def uint8_batches(self) -> Iterator[Tensor]:
        """Iterate over all images in batches, (B, 3, S, S) uint8."""
        return (pixels if pixels.dtype == torch.uint8 else to_uint8(pixels.float()) for pixels in self._pixel_batches())

    def _pixel_batches(self) -> Iterator[Tensor]:
        """Iterate over all images in batches, in the type in which they are stored."""
        return (self.pixels[slice(k, k + _BATCH)] for k in range(0, len(self), _BATCH))

    def take(self, rows: Tensor) -> ImageSet:
        """Return a subset, with its concepts, groups and indices.

        Args:
            rows: row numbers, (B,).
        """
        return ImageSet(
            self.pixels[rows] if isinstance(self.pixels, Tensor) else self.pixels.select(rows),
            {name: concept.take(rows) for name, concept in self.concepts.items()},
            None if self.groups is None else self.groups[rows],
            self.indices_of(rows),
        )

    def indices_of(self, rows: Tensor | slice) -> Tensor:
        """Return the index of each of these rows in the data the images were read from."""
        if self.indices is None and isinstance(rows, slice):
            return torch.arange(*rows.indices(len(self)))
        return (torch.arange(len(self)) if self.indices is None else self.indices)[rows]

    def split(self, held_out_fraction: float, seed: int) -> tuple[ImageSet, ImageSet]:
        """Split at random into training and held-out images; groups are not divided.

        Args:
            held_out_fraction: fraction of the groups (of the images, if there are none) that is held out; at least one.
            seed: of the draw.

        Returns:
            (training images, held-out images), both in the order of this set.
        """
        mask = self.held_out_mask(held_out_fraction, seed)
        return self.take((~mask).nonzero().flatten()), self.take(mask.nonzero().flatten())

    def held_out_mask(self, held_out_fraction: float, seed: int) -> Tensor:
        """Return which images :meth:`split` holds out, (N,) bool."""
        groups = torch.arange(len(self)) if self.groups is None else self.groups
        names, group_of = groups.unique(return_inverse=True)
        order = torch.randperm(len(names), generator=generator_for(seed, "split"))
        held_out = torch.zeros(len(names), dtype=torch.bool)
        held_out[order[: max(1, round(held_out_fraction * len(names)))]] = True
        return held_out[group_of]

    def resized(self, size: int) -> ImageSet:
        """Return the same set with images of another side, scaled bilinearly with antialiasing.

        Args:
            size: side in pixels.

        Raises:
            DataError: generated images, which have one size.
        """
        if size == self.size:
            return self
        if isinstance(self.pixels, Generated):
            raise DataError("Generated images cannot be resized", expected=f"{self.size} px", got=f"{size} px")
        small = (F.interpolate(batch, (size, size), mode="bilinear", antialias=True) for batch in self.batches())
        return replace(self, pixels=concatenate_images((to_uint8(batch) for batch in small), len(self)))

    def match_classes(self, other: ImageSet) -> ImageSet:
        """Return the same set with the class numbers of another set, matched by class name.

        Raises:
            DataError: other concepts, or classes that the other set lacks.
        """
        if set(self.concepts) != set(other.concepts):
            raise DataError(
                "The held-out images have other concepts than the training images",
                expected=", ".join(other.concepts) or "none",
                got=", ".join(self.concepts) or "none",
                hint="Pass `held_out` as `invkit.as_image_set(images, concepts={...})`.",
            )
        concepts = {name: self.concepts[name].match_classes(known, name) for name, known in other.concepts.items()}
        return replace(self, concepts=concepts)

    def fingerprint(self, *, with_concepts: bool = True) -> str:
        """Return a hash of the images, their concepts and groups; the same wherever the images are stored."""
        decoder: dict[str, Any] = {}
        pixels: Any = self.pixels
        if isinstance(pixels, Generated):
            decoder, pixels = pixels.autoencoder.state_dict() | pixels.autoencoder.config, pixels.latents
        elif isinstance(pixels, StoredImages):
            pixels = ChunkedTensor(pixels.dtype, pixels.shape, self._pixel_batches())
        if not with_concepts:
            return content_hash(pixels, decoder)
        concepts = {name: concept.values for name, concept in self.concepts.items()}
        return content_hash(pixels, decoder, concepts, [] if self.groups is None else self.groups)

"""Images with what is known of them: the one form in which data enters the rest of invkit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from invkit.data.concepts import Concept, check_names
from invkit.data.generated import Generated
from invkit.data.stored import StoredImages, concatenate_images
from invkit.errors import DataError
from invkit.utils.io import ChunkedTensor, content_hash
from invkit.utils.random import generator_for

__all__ = ["ImageSet", "evenly_spaced", "to_uint8"]


_PART = 256  # images at once


def to_uint8(images: Tensor) -> Tensor:
    """Return images in [0, 1] as uint8."""
    return (images.clamp(0, 1) * 255).round().byte()


def evenly_spaced(total: int, n: int) -> Tensor:
    """Return the rows of n of so many images, from the first to the last at even distances; all where n is more."""
    return torch.linspace(0, total - 1, min(n, total)).long()


@dataclass(frozen=True)
class ImageSet:
    """Images of one size, with named concepts.

    Attributes:
        pixels: (N, 3, S, S), uint8 or float in [0, 1]; or those that a file holds, or a decoder makes, whenever they
            are asked for.
        concepts: by name, the value that each image has.
        groups: (N,), images of one group (one original in several colours, one person) are never split
            between training and held-out; None where each stands alone.
        indices: (N,), the place of each in the data that it was read from, for messages; None where it is its own.
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
                    f"The labels of '{name}' are not read so far",
                    expected="a Concept",
                    got=type(concept).__name__,
                    hint="`invkit.as_image_set(images, concepts={...})` takes labels of any kind.",
                )
            self._expect_for_each(f"The concept '{name}'", concept.values)
        for what, values in (("`groups`", self.groups), ("`indices`", self.indices)):
            if values is not None:
                self._expect_for_each(what, values)

    def _expect_for_each(self, what: str, values: Tensor) -> None:
        if len(values) != len(self.pixels):
            raise DataError(
                f"{what} does not fit the images",
                expected=f"{len(self.pixels)} values, one for each image",
                got=len(values),
                hint="Give them in the order of the images.",
            )

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return self.pixels.shape[-1]

    def images(self, rows: Tensor | slice | None = None) -> Tensor:
        """Return images as float32 in [0, 1], (B, 3, S, S)."""
        pixels = self._kept(slice(None) if rows is None else rows)
        return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()

    def _kept(self, rows: Tensor | slice) -> Tensor:
        """Return images in the type that they are kept in."""
        pixels = self.pixels[rows]
        return pixels if isinstance(pixels, Tensor) else pixels.read()

    def batches(self, size: int = _PART) -> Iterator[Tensor]:
        """Return all images part by part, (B, 3, S, S) each."""
        return (self.images(slice(k, k + size)) for k in range(0, len(self), size))

    def uint8_batches(self) -> Iterator[Tensor]:
        """Return all images as uint8, part by part, (B, 3, S, S) each."""
        parts = (self._kept(slice(k, k + _PART)) for k in range(0, len(self), _PART))
        return (part if part.dtype == torch.uint8 else to_uint8(part.float()) for part in parts)

    def take(self, rows: Tensor) -> ImageSet:
        """Return the set of these rows."""
        return ImageSet(
            self.pixels[rows],
            {name: concept.take(rows) for name, concept in self.concepts.items()},
            None if self.groups is None else self.groups[rows],
            self.indices_of(rows),
        )

    def indices_of(self, rows: Tensor | slice) -> Tensor:
        """Return the place of each of these rows in the data that they were read from."""
        if self.indices is None and isinstance(rows, slice):
            return torch.arange(*rows.indices(len(self)))
        return (torch.arange(len(self)) if self.indices is None else self.indices)[rows]

    def split(self, share: float, seed: int) -> tuple[ImageSet, ImageSet]:
        """Split into training and held-out images, whole groups to one side.

        Args:
            share: share of the groups that is held out.
            seed: of the draw.
        """
        rows = self.held_out_mask(share, seed)
        return self.take((~rows).nonzero().flatten()), self.take(rows.nonzero().flatten())

    def held_out_mask(self, share: float, seed: int) -> Tensor:
        """Say which images :meth:`split` holds out, (N,) of bool."""
        groups = torch.arange(len(self)) if self.groups is None else self.groups
        names, place = groups.unique(return_inverse=True)
        order = torch.randperm(len(names), generator=generator_for(seed, "split"))
        held_out = torch.zeros(len(names), dtype=torch.bool)
        held_out[order[: max(1, round(share * len(names)))]] = True
        return held_out[place]

    def resized(self, size: int) -> ImageSet:
        """Return the same set with images of another side, antialiased."""
        if size == self.size:
            return self
        if isinstance(self.pixels, Generated):
            raise DataError("These images are made at one size", expected=f"{self.size} px", got=f"{size} px")
        small = (F.interpolate(part, (size, size), mode="bilinear", antialias=True) for part in self.batches())
        return replace(self, pixels=concatenate_images((to_uint8(part) for part in small), len(self)))

    def match_classes(self, other: ImageSet) -> ImageSet:
        """Return the same set with classes under the numbers that they have in another.

        Raises:
            DataError: other concepts, or classes that the other set lacks.
        """
        if set(self.concepts) != set(other.concepts):
            raise DataError(
                "The held-out images have other concepts than those to train on",
                expected=", ".join(other.concepts) or "none",
                got=", ".join(self.concepts) or "none",
                hint="Hand over `held_out` as `invkit.as_image_set(images, concepts={...})`.",
            )
        concepts = {name: self.concepts[name].match_classes(known, name) for name, known in other.concepts.items()}
        return replace(self, concepts=concepts)

    def fingerprint(self, *, with_concepts: bool = True) -> str:
        """Hash images, and concepts and groups with them."""
        known: dict[str, Any] = {}
        pixels: Any = self.pixels
        if isinstance(pixels, Generated):
            known, pixels = pixels.autoencoder.state_dict() | pixels.autoencoder.config, pixels.latents
        if isinstance(pixels, StoredImages):
            pixels = ChunkedTensor(pixels.dtype, pixels.shape, pixels.parts(_PART))
        if not with_concepts:
            return content_hash(pixels, known)
        concepts = {name: concept.values for name, concept in self.concepts.items()}
        return content_hash(pixels, known, concepts, [] if self.groups is None else self.groups)

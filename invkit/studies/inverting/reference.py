"""Held-out images as the reference of Fréchet and kernel distances."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from invkit.core import Estimate
from invkit.data import ImageSet, evenly_spaced
from invkit.evaluation import Features, frechet_distance, kernel_distance

__all__ = ["Reference", "groups_of"]


@dataclass(frozen=True)
class Reference:
    """Features of held-out images, to which features of other images are compared.

    Attributes:
        features: of the distances.
        rows: rows of the held-out images, (M,).
        seen: their features, (M, F).
        groups: (M,), images of one group are not independent; None if all are.
    """

    features: Features
    rows: Tensor
    seen: Tensor
    groups: Tensor | None

    @classmethod
    def of(cls, features: Features, images: ImageSet, most: int) -> Reference:
        """Return the reference of up to `most` evenly spaced images."""
        rows = evenly_spaced(len(images), most)
        return cls(features, rows, features.of(images.take(rows)), groups_of(images, rows))

    def paired(self, seen: Tensor) -> dict[str, Estimate]:
        """Return the distances to features (M, F) of images that were made of the reference images."""
        return self._distances(seen, self.groups, independent=False)

    def independent(self, images: ImageSet) -> dict[str, Estimate]:
        """Return the distances to as many other images."""
        rows = evenly_spaced(len(images), len(self.rows))
        return self._distances(self.features.of(images.images(rows)), groups_of(images, rows), independent=True)

    def _distances(self, seen: Tensor, groups: Tensor | None, independent: bool) -> dict[str, Estimate]:
        pair = (self.groups, groups)
        return {
            "Fréchet distance": frechet_distance(self.seen, seen, pair, independent=independent),
            "kernel distance": kernel_distance(self.seen, seen, pair, independent=independent),
        }


def groups_of(images: ImageSet, rows: Tensor) -> Tensor | None:
    """Return the groups of some rows; None without groups."""
    return None if images.groups is None else images.groups[rows]

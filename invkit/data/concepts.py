"""Concepts: labels or attributes of images, and pairs of images that share a value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.stats import rankdata
from torch import Tensor

from invkit.errors import DataError
from invkit.utils.random import generator_for

__all__ = ["Concept", "Pairing", "as_concept", "check_names"]

_NEIGHBOURS = 8
_MAX_SPREAD = 1000  # points
_TIE = 1e-6  # of a standard deviation


@dataclass(frozen=True)
class Concept:
    """A value for each of N images. :func:`as_concept` builds one from labels.

    Attributes:
        kind: `class` (categories), `continuous` (a number) or `colour` (a vector, for instance RGB).
        values: (N,) int64 for a class, (N, d) float32 otherwise.
        names: names of the classes, by number; empty if they have none.

    Example:
        >>> from invkit.data import as_concept
        >>> animal = as_concept("animal", ["cat", "dog", "cat"])
        >>> animal.kind, animal.values.tolist(), animal.names
        ('class', [0, 1, 0], ('cat', 'dog'))
        >>> animal.targets().tolist()
        [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    """

    kind: Literal["class", "continuous", "colour"]
    values: Tensor
    names: tuple[str, ...] = ()

    def take(self, rows: Tensor) -> Concept:
        """Return a subset; classes without names are named by their numbers, so that subsets agree on them."""
        return Concept(self.kind, self.values[rows], self._called)

    def targets(self) -> Tensor:
        """Return regression targets, (N, d) float32: one-hot for a class."""
        if self.kind != "class":
            return self.values
        return torch.nn.functional.one_hot(self.values, self.classes).float()

    @property
    def classes(self) -> int:
        """Number of classes, including those that none of the images has."""
        return len(self.names) or int(self.values.max()) + 1

    @property
    def dimensions(self) -> int:
        """Largest number of dimensions that the concept can span: K − 1 for K classes (a simplex), d for vectors."""
        return max(1, self.classes - 1) if self.kind == "class" else self.values.shape[1]

    def anchors(self, size: int) -> Tensor:
        """Return a target code of each value under a standard normal, (N, min(size, d)); equal values share a code.

        Classes are spread over a sphere; continuous values are mapped by their ranks.

        Args:
            size: dimension of the concept's factor.
        """
        if self.kind == "class":
            return _spread_over_sphere(self.classes, size)[self.values]
        ranks = torch.from_numpy(rankdata(self.values[:, :size].numpy(), axis=0)).float()  # ties share one
        return torch.special.ndtri((ranks - 0.5) / len(self.values))

    def match_classes(self, other: Concept, name: str) -> Concept:
        """Return the concept with the class numbers of another set, matched by class name.

        Classes without names keep their numbers. Continuous values and colours are returned unchanged.

        Args:
            other: the same concept of another set.
            name: of the concept, for messages.

        Raises:
            DataError: another kind, or a class that the other set lacks.
        """
        if self.kind != other.kind:
            raise DataError(f"The held-out images have another '{name}'", expected=other.kind, got=self.kind)
        if self.kind != "class" or self.names == other.names != ():
            return self
        known = other._called
        own = self._called if self.names or self.classes > len(known) else known  # numbers that fit stay
        missing = set(own) - set(known)
        if missing:
            raise DataError(
                f"Held-out images have classes of '{name}' that no training image has",
                expected=", ".join(known[:8]),
                got=", ".join(sorted(missing)[:8]),
            )
        numbers = torch.tensor([known.index(each) for each in own])
        return Concept(self.kind, numbers[self.values], known)

    @property
    def _called(self) -> tuple[str, ...]:
        """Names of the classes, or their numbers if they have no names; empty unless the kind is `class`."""
        return self.names or tuple(str(number) for number in range(self.classes if self.kind == "class" else 0))


@cache
@torch.enable_grad()
def _spread_over_sphere(n: int, size: int) -> Tensor:
    """Spread n points over a sphere of radius √size by minimising their repulsion energy, in O(n²).

    More than 1,000 points are drawn at random instead, which in many dimensions is nearly as good: the median distance
    to the nearest point is 0.5 of the optimised one in 4 dimensions, 0.78 in 16, 0.9 in 64.
    """
    points = torch.randn(n, size, generator=torch.Generator().manual_seed(0)).requires_grad_()
    optimizer = torch.optim.Adam([points], lr=0.05)
    for _ in range(300 if 1 < n <= _MAX_SPREAD else 0):
        distances = torch.pdist(torch.nn.functional.normalize(points))
        optimizer.zero_grad()
        torch.autograd.backward((1 / (distances + 1e-3)).mean())
        optimizer.step()
    return (math.sqrt(size) * torch.nn.functional.normalize(points)).detach()


def as_concept(name: str, labels: Any, class_names: Sequence[str] = ()) -> Concept:
    """Convert labels to a :class:`Concept`.

    Integers, booleans and strings are classes; floats (N,) are continuous; floats (N, d) are colours or other vectors.

    Args:
        name: of the concept, for messages.
        labels: a sequence, array or tensor with one label for each image; a Concept is returned unchanged.
        class_names: names of integer classes, by number; ignored unless each class has one.

    Raises:
        DataError: another shape or type, values that are not finite, or classes of which no two images share one.

    Example:
        >>> from invkit.data import as_concept
        >>> as_concept("age", [3.5, 1.0, 2.0]).kind
        'continuous'
        >>> as_concept("animal", [1, 0, 1], ("cat", "dog")).names
        ('cat', 'dog')
    """
    if isinstance(labels, Concept):
        return labels
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.dtype.kind in "biuUSO" and array.ndim == 1:
        names, codes = np.unique(array.astype(str) if array.dtype.kind in "USO" else array, return_inverse=True)
        if len(names) == len(array) > 1:
            raise DataError(
                f"No two images share a value of '{name}'",
                expected="classes of at least two images",
                got=f"{len(names)} classes for {len(array)} images",
                hint="Pass floats if this is a quantity rather than a class.",
            )
        if array.dtype.kind in "iu" and all(0 <= number < len(class_names) for number in names):
            names = np.array([class_names[number] for number in names])
        return Concept("class", torch.from_numpy(codes.astype(np.int64)), tuple(str(n) for n in names))
    if array.dtype.kind == "f" and array.ndim in (1, 2):
        values = torch.from_numpy(array.astype(np.float32).reshape(len(array), -1))
        if not values.isfinite().all():
            raise DataError(f"The concept '{name}' has values that are not finite", hint="Remove those images.")
        return Concept("continuous" if values.shape[1] == 1 else "colour", values)
    raise DataError(
        f"Cannot read the labels of '{name}'",
        expected="one class, one number or one colour (N, 3) for each image",
        got=f"an array of shape {array.shape} and type {array.dtype}",
    )


def check_names(concepts: Iterable[str]) -> None:
    """Raise an error if a concept is called `residual`, the name of the factor of *e* that holds all else."""
    if "residual" in concepts:
        raise DataError(
            "'residual' is reserved and cannot name a concept",
            hint="The factor for all that no concept explains has this name. Choose another name.",
        )


class Pairing:
    """A sampler of pairs of images that share a concept's value.

    The partner of an image is a random other member of its class (itself if there is none); for continuous values and
    colours, one of the eight images nearest in value, with ties broken at random.

    Args:
        concept: N values.

    Example:
        >>> import torch
        >>> from invkit.data import Pairing, as_concept
        >>> pairing = Pairing(as_concept("animal", ["cat", "dog", "cat", "dog"]))
        >>> pairing.draw(torch.tensor([0, 1]), torch.Generator()).tolist()
        [2, 3]
    """

    def __init__(self, concept: Concept) -> None:
        values = concept.values
        if concept.kind == "class":
            self._order = values.argsort(stable=True)
            self._count = values.bincount()[values]
            self._start = (values.bincount().cumsum(0) - values.bincount())[values]
            self._own = self._order.argsort() - self._start
        else:
            k = min(_NEIGHBOURS, len(values) - 1)
            points = torch.cat([values / values.std(0).clamp(min=1e-8), _tie_breaker(values)], 1).numpy()
            nearest = torch.from_numpy(cKDTree(points).query(points, k + 1)[1]).reshape(len(values), -1)
            own = nearest == torch.arange(len(values))[:, None]
            self._order = nearest[~own]
            self._count = torch.full((len(values),), k)
            self._start = torch.arange(len(values)) * k
            self._own = torch.full((len(values),), k)  # not among them

    def draw(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a partner for each of the rows, (B,)."""
        count, own = self._count[rows], self._own[rows]
        others = (count - (own < count).long()).clamp(min=1)
        pick = (torch.rand(len(rows), generator=generator) * others).long().clamp(max=others - 1)
        pick = (pick + (pick >= own)).clamp(max=count - 1)
        return self._order[self._start[rows] + pick]


def _tie_breaker(values: Tensor) -> Tensor:
    """Return a tiny random coordinate for tied values, (N, 1): otherwise a search always finds the same few."""
    _, place, count = values.unique(dim=0, return_inverse=True, return_counts=True)
    noise = torch.randn(len(values), generator=generator_for(0, "ties"), dtype=torch.float64)
    return (_TIE * noise * (count[place] > 1))[:, None]

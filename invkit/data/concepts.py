"""Concepts: labels or attributes of images, and pairs of images that share one."""

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
_SPREAD = 1000  # points, at most
_TIE = 1e-6  # of a standard deviation


@dataclass(frozen=True)
class Concept:
    """A value for each image.

    Attributes:
        kind: `class` (equal or not), `continuous` (a number) or `colour` (three of them, or any vector).
        values: (N,) int64 for a class, (N, d) float32 otherwise.
        names: of the classes, by number; empty where there are none.
    """

    kind: Literal["class", "continuous", "colour"]
    values: Tensor
    names: tuple[str, ...] = ()

    def take(self, rows: Tensor) -> Concept:
        """Return concept of these rows; classes without names get their numbers for names, the same in each part."""
        return Concept(self.kind, self.values[rows], self._called)

    def targets(self) -> Tensor:
        """Return values to regress on, (N, d) float32: one-hot for a class."""
        if self.kind != "class":
            return self.values
        return torch.nn.functional.one_hot(self.values, self.classes).float()

    @property
    def classes(self) -> int:
        """Number of classes, those that no image here has included."""
        return len(self.names) or int(self.values.max()) + 1

    @property
    def dimensions(self) -> int:
        """How many dimensions the concept can fill: K − 1 for K classes (the corners of a simplex), d for values."""
        return max(1, self.classes - 1) if self.kind == "class" else self.values.shape[1]

    def anchors(self, size: int) -> Tensor:
        """Return an ideal standard normal code of each value, (N, min(size, d)), equal values at equal points.

        Classes lie apart on a sphere, as if they repelled each other; quantities are mapped by their ranks.
        """
        if self.kind == "class":
            return _apart(self.classes, size)[self.values]
        ranks = torch.from_numpy(rankdata(self.values[:, :size].numpy(), axis=0)).float()  # ties share one
        return torch.special.ndtri((ranks - 0.5) / len(self.values))

    def match_classes(self, other: Concept, name: str) -> Concept:
        """Return the same classes under the numbers that they have in another set; quantities pass.

        Classes without names keep their numbers.

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
        """Names of the classes; their numbers where they have none; empty for quantities."""
        return self.names or tuple(str(number) for number in range(self.classes if self.kind == "class" else 0))


@cache
@torch.enable_grad()
def _apart(n: int, size: int) -> Tensor:
    """Spread n points over a sphere of radius √size, by minimising the energy of their repulsion.

    That takes time by n². More than 1,000 points are random, which in many dimensions lie nearly as far apart: the
    nearest is at 0.78 of the distance in 16 dimensions, by the median, at 0.9 in 64, at 0.5 in 4.
    """
    points = torch.randn(n, size, generator=torch.Generator().manual_seed(0)).requires_grad_()
    optimizer = torch.optim.Adam([points], lr=0.05)
    for _ in range(300 if 1 < n <= _SPREAD else 0):
        distances = torch.pdist(torch.nn.functional.normalize(points))
        optimizer.zero_grad()
        torch.autograd.backward((1 / (distances + 1e-3)).mean())
        optimizer.step()
    return (math.sqrt(size) * torch.nn.functional.normalize(points)).detach()


def as_concept(name: str, labels: Any, called: Sequence[str] = ()) -> Concept:
    """Read labels: whole numbers, truth values or strings are classes, floats continuous, (N, 3) colours.

    Args:
        name: of the concept.
        labels: of each image.
        called: what whole numbers are called, by number; if one has no name, they are their own.

    Raises:
        DataError: another shape, NaN, or classes of which no two images share one.
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
        if array.dtype.kind in "iu" and all(0 <= number < len(called) for number in names):
            names = np.array([called[number] for number in names])
        return Concept("class", torch.from_numpy(codes.astype(np.int64)), tuple(str(n) for n in names))
    if array.dtype.kind == "f" and array.ndim in (1, 2):
        values = torch.from_numpy(array.astype(np.float32).reshape(len(array), -1))
        if not values.isfinite().all():
            raise DataError(f"The concept '{name}' has values that are not finite", hint="Leave those images out.")
        return Concept("continuous" if values.shape[1] == 1 else "colour", values)
    raise DataError(
        f"Cannot read the labels of '{name}'",
        expected="one class, one number or one colour (N, 3) for each image",
        got=f"an array of shape {array.shape} and type {array.dtype}",
    )


def check_names(concepts: Iterable[str]) -> None:
    """Refuse a concept with the name of what *e* keeps beside all concepts."""
    if "residual" in concepts:
        raise DataError(
            "No concept can be called 'residual'",
            hint="That is what is left of a code beside all concepts. Choose another name.",
        )


class Pairing:
    """Draws, for each image, another that shares the concept.

    Of a class, any other member (itself where there is none); of a quantity or colour, one of the eight images nearest
    in value, of equal ones by chance.

    Args:
        concept: the values.
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
            points = torch.cat([values / values.std(0).clamp(min=1e-8), _told_apart(values)], 1).numpy()
            nearest = torch.from_numpy(cKDTree(points).query(points, k + 1)[1]).reshape(len(values), -1)
            own = nearest == torch.arange(len(values))[:, None]
            self._order = nearest[~own]
            self._count = torch.full((len(values),), k)
            self._start = torch.arange(len(values)) * k
            self._own = torch.full((len(values),), k)  # not among them

    def draw(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return a partner for each of the rows (B,)."""
        count, own = self._count[rows], self._own[rows]
        others = (count - (own < count).long()).clamp(min=1)
        pick = (torch.rand(len(rows), generator=generator) * others).long().clamp(max=others - 1)
        pick = (pick + (pick >= own)).clamp(max=count - 1)
        return self._order[self._start[rows] + pick]


def _told_apart(values: Tensor) -> Tensor:
    """Return equal values a coordinate, (N, 1), tiny and random: else a search finds always the same few of them."""
    _, place, count = values.unique(dim=0, return_inverse=True, return_counts=True)
    noise = torch.randn(len(values), generator=generator_for(0, "ties"), dtype=torch.float64)
    return (_TIE * noise * (count[place] > 1))[:, None]

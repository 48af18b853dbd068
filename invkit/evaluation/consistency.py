"""Consistency: do samples have the representation that they were drawn for?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from invkit.core import Estimate
from invkit.errors import DataError
from invkit.evaluation.estimate import jackknife, mean_estimate
from invkit.utils.random import generator_for

__all__ = ["Consistency", "agreement", "consistency", "other_rows", "others", "squared_distances"]


@dataclass(frozen=True)
class Consistency:
    """How close representations of generated images are to those they were generated for.

    Attributes:
        distance: E‖Φ(x̄) − z‖² / E‖z' − z‖², z' of other images: 0 if the layer cannot distinguish a generated image
            x̄ from its original, 1 if it is like any other image.
        rank: share of other images that are farther from z than a generated image: 1 is best, 0.5 is chance.

    Example:
        >>> Consistency(Estimate(0.02, 0.001, n=256), Estimate(0.99, 0.002, n=256)).rank > 0.95
        True
    """

    distance: Estimate
    rank: Estimate


def consistency(own: Tensor, made: Tensor, groups: Tensor | None = None) -> Consistency:
    """Compare representations of generated images with those of their originals.

    The null distribution is that of distances between different images, as in the test of model metamers (Feather et
    al., 2023). Standard errors are by the jackknife over groups of images.

    Args:
        own: z of M images, (M, …).
        made: Φ(x̄) of n generated images for each, (M, n, …).
        groups: (M,), images of one group are not compared; None if all are independent.

    Example:
        >>> import torch
        >>> z = torch.randn(50, 8)
        >>> consistency(z, z[:, None] + 0.1 * torch.randn(50, 2, 8)).distance < 0.05
        True
    """
    z = own.flatten(1).double()
    moved = torch.stack([_squares(images.flatten(1), known) for images, known in zip(made, z, strict=True)])  # (M, n)
    between, other = squared_distances(z, z), others(len(z), groups)
    null = (between * other).sum(1) / other.sum(1)
    farther = (between[:, None] > moved[..., None]) & other[:, None]
    rank = (farther.sum(-1) / other.sum(1)[:, None]).mean(1)
    n = moved.numel()
    return Consistency(
        jackknife(lambda m: m[..., 0] / m[..., 1].clamp(min=1e-30), torch.stack([moved.mean(1), null], 1), n, groups),
        mean_estimate(rank, groups, n),
    )


def agreement(own: Tensor, made: Tensor, groups: Tensor | None = None) -> tuple[Estimate, float]:
    """Return how often the largest output of a generated image equals that of its original, and by chance.

    Args:
        own: f(x), (M, C).
        made: f(x̄), (M, n, C).
        groups: as in :func:`consistency`.

    Returns:
        the share of generated images, and the share of pairs of different images, with the same largest output.

    Example:
        >>> import torch
        >>> scores = torch.eye(4)
        >>> agreement(scores, scores[:, None])
        (1.000 ± 0.000, 0.0)
    """
    decided = own.argmax(1)
    same = (made.argmax(2) == decided[:, None]).double().mean(1)
    other = others(len(own), groups)
    chance = ((decided[:, None] == decided) & other).sum() / other.sum()
    return mean_estimate(same, groups, made.shape[0] * made.shape[1]), float(chance)


def others(m: int, groups: Tensor | None) -> Tensor:
    """Return which pairs of M images are of different groups, (M, M), bool."""
    names = torch.arange(m) if groups is None else groups
    return names[:, None] != names


def other_rows(m: int, groups: Tensor | None, seed: int) -> Tensor:
    """Return for each of M images the row of an image of another group, (M,), each image once if groups allow.

    Raises:
        DataError: all images are of one group.
    """
    names, place, count = (torch.arange(m) if groups is None else groups).unique(
        return_inverse=True, return_counts=True
    )
    if len(names) < 2:
        raise DataError(
            "There are no other images to compare with",
            expected="images of two groups or more",
            got=f"{m} of one group",
            hint="Hold out more images.",
        )
    generator = generator_for(seed, "other images")
    order = torch.randperm(len(names), generator=generator)[place].argsort(stable=True)  # groups in random order
    other = torch.empty_like(order)
    other[order] = order.roll(int(count.max()))
    return other


def _squares(made: Tensor, own: Tensor) -> Tensor:
    """Return ‖made_i − own‖² of (n, D) and (D,), (n,); for one original, since all at once take several GB."""
    return (made.double() - own).square().sum(-1)


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return ‖a_i − b_j‖² of float64 vectors (M, D) and (K, D), (M, K)."""
    centre = b.mean(0)  # far from zero, the sums would cancel badly
    a, b = a - centre, b - centre
    return (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).clamp(min=0)

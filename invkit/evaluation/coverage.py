"""Coverage: do samples of z cover the codes of images whose representations are near z?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from invkit.core import Estimate
from invkit.evaluation.consistency import others, squared_distances
from invkit.evaluation.estimate import jackknife, mean_estimate
from invkit.utils.random import generator_for

__all__ = ["Coverage", "coverage"]

_NEAREST = 5


@dataclass(frozen=True)
class Coverage:
    """Samples compared with the nearest neighbours in z.

    Attributes:
        covered: share of the neighbours to which the nearest sample is closer, in z̄, than the nearest of equally many
            random images: 0.5 if samples are no better than random images, lower if they collapse to one point.
        neighbours_open: share of the variance of z̄ that is left among neighbours in z: eq. 19 without a flow.
            Neighbours share z only approximately, so it is an upper bound; a *t* that leaves more has missed
            information in z.

    Example:
        >>> Coverage(Estimate(0.61, 0.02, n=3000), Estimate(0.48, 0.03, n=3000)).covered > 0.5
        True
    """

    covered: Estimate
    neighbours_open: Estimate


def coverage(z: Tensor, codes: Tensor, samples: Tensor, groups: Tensor | None = None, seed: int = 0) -> Coverage:
    """Compare samples of each z with the codes of the images that are nearest in z.

    Args:
        z: representations of M images, (M, …).
        codes: their codes, drawn from the posterior as in the training of *t*, (M, N).
        samples: codes drawn by *t* for each, (M, n, N).
        groups: (M,), only the nearest image of a group is a neighbour, and none of the image's own group; None if all
            are independent.
        seed: of the choice of random images.

    Example:
        >>> import torch
        >>> codes = torch.randn(60, 3)
        >>> z = codes + 0.1 * torch.randn(60, 3)
        >>> coverage(z, codes, z[:, None] + 0.1 * torch.randn(60, 4, 3)).covered > 0.5
        True
    """
    other = others(len(z), groups)
    flat = z.flatten(1).double()
    near = _neighbours(squared_distances(flat, flat).masked_fill(~other, torch.inf), groups)
    codes, samples = codes.double(), samples.double()
    generator = generator_for(seed, "coverage")
    rows = []
    for i in range(len(z)):
        known = codes[near[i]]
        free = other[i].clone()
        free[near[i]] = False
        pool = free.nonzero().flatten()
        rest = codes[pool[torch.randperm(len(pool), generator=generator)[: samples.shape[1]]]]
        to_samples, to_others = (squared_distances(known, found).amin(1) for found in (samples[i, : len(rest)], rest))
        spread = known.var(0).sum()
        rows.append(torch.stack([(to_samples < to_others).double().mean(), spread, codes[i].square().sum()]))
    found = torch.cat([torch.stack(rows), codes], 1)
    m = len(z)
    return Coverage(
        mean_estimate(found[:, 0], groups, near.numel()),
        jackknife(
            lambda mean: mean[..., 0] / ((mean[..., 1] - mean[..., 2:].square().sum(-1)) * m / (m - 1)),
            found[:, 1:], near.numel(), groups,
        ),
    )  # fmt: skip


def _neighbours(distances: Tensor, groups: Tensor | None) -> Tensor:
    """Return the nearest images of each, (M, k), at most one of each group: copies of one original are close."""
    if groups is not None:
        place = groups.unique(return_inverse=True)[1].expand_as(distances)
        nearest = torch.full((len(distances), int(place.max()) + 1), torch.inf, dtype=distances.dtype)
        nearest = nearest.scatter_reduce(1, place, distances, "amin")
        distances = distances.masked_fill(distances > nearest.gather(1, place), torch.inf)
    k = min(_NEAREST, int(distances.isfinite().sum(1).min()))
    return distances.topk(k, largest=False).indices

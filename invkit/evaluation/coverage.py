"""Do samples of z show what the layer really confuses: the images whose representations lie next to z?"""

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
    """Samples against the nearest neighbours in z.

    Attributes:
        covered: share of these neighbours to which the nearest sample is nearer, in z̄, than the nearest of as many
            other images: 0.5 where samples are no better than any images, below where they all lie in one place.
        neighbours_open: share of the variance of z̄ that is left among neighbours in z: eq. 19 without any flow.
            Neighbours share z but roughly, so that it is an upper bound; a *t* that tells more missed what z says.
    """

    covered: Estimate
    neighbours_open: Estimate


def coverage(z: Tensor, codes: Tensor, samples: Tensor, groups: Tensor | None = None, seed: int = 0) -> Coverage:
    """Compare samples of each z with the codes of the images that are nearest in z.

    Args:
        z: representations of M images, (M, …).
        codes: their codes, drawn from the posterior as *t* was trained, (M, N).
        samples: codes that *t* drew for each, (M, n, N).
        groups: (M,), of one group only the nearest image is a neighbour, and of the image's own none; None where each
            stands alone.
        seed: of the choice of other images.
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
    """Return the nearest images of each, (M, k), no two of one group: copies of one original would lie together."""
    if groups is not None:
        place = groups.unique(return_inverse=True)[1].expand_as(distances)
        nearest = torch.full((len(distances), int(place.max()) + 1), torch.inf, dtype=distances.dtype)
        nearest = nearest.scatter_reduce(1, place, distances, "amin")
        distances = distances.masked_fill(distances > nearest.gather(1, place), torch.inf)
    k = min(_NEAREST, int(distances.isfinite().sum(1).min()))
    return distances.topk(k, largest=False).indices

"""The Fréchet distance of two sets of features (Heusel et al., 2017): with Inception's, FID."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from invkit.evaluation.estimate import Estimate, blocks_of, standard_error

__all__ = ["frechet_distance"]


def frechet_distance(features: Tensor, others: Tensor, groups: Tensor | None = None) -> Estimate:
    """Give ‖μ − μ'‖² + tr(Σ + Σ' − 2 (Σ Σ')^½) of normal distributions with the moments of both sets.

    It is biased upwards by about 1/n, so that only distances of equally many images go together. The standard error
    is the jackknife's over blocks of the second set, the one that is made; NaN where that is all of one group.

    Args:
        features: (N, D), of images.
        others: (M, D), of those that are compared with them.
        groups: (M,), of these, which depend on each other; None where each stands alone.
    """
    features, others = features.double(), others.double()
    known = _moments(features)
    blocks = blocks_of(len(others), groups)
    rest = [others[blocks != b] for b in blocks.unique()]
    value = float(_distance(known, _moments(others)))
    if min(map(len, rest)) < 2:
        return Estimate(value, math.nan, len(others))
    without = torch.stack([_distance(known, _moments(part)) for part in rest])
    return Estimate(value, standard_error(without), len(others))


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    return features.mean(0), torch.atleast_2d(features.T.cov())


def _distance(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
    # Σ Σ' has the eigenvalues of a product of positive semi-definite matrices: real and not negative
    roots = torch.linalg.eigvals(a[1] @ b[1]).real.clamp(min=0).sqrt().sum()
    return (a[0] - b[0]).square().sum() + a[1].trace() + b[1].trace() - 2 * roots

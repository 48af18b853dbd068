"""The Fréchet distance of two sets of features (Heusel et al., 2017): with Inception's, FID."""

from __future__ import annotations

import torch
from torch import Tensor

from invkit.core import Estimate
from invkit.evaluation.estimate import Groups, block_jackknife, groups_of_both

__all__ = ["frechet_difference", "frechet_distance"]


def frechet_distance(features: Tensor, others: Tensor, groups: Groups = None, *, independent: bool = False) -> Estimate:
    """Return ‖μ − μ'‖² + tr(Σ + Σ' − 2 (Σ Σ')^½) of normal distributions with the moments of both sets.

    It is biased upwards by about 1/n, so that only distances of equally many images go together. The standard error
    is the jackknife's over blocks of groups, left out of both sets at once; NaN where a set is all of one group.

    Args:
        features: (N, D), of images.
        others: (M, D), of those that are compared with them.
        groups: rows of one group depend on each other: (N,) of both sets, where others are made of these images row by
            row, or a pair (N,) and (M,); None where each row depends on the one of its number alone.
        independent: the others are not made of these images, so that no group is in both sets.
    """
    a, b = features.double(), others.double()
    named = groups_of_both(groups, (len(a), len(b)), independent)
    return block_jackknife(lambda x, y: _distance(_moments(a[x]), _moments(b[y])), named)


def frechet_difference(features: Tensor, others: Tensor, than: Tensor, groups: Tensor | None = None) -> Estimate:
    """Return how much farther from images one set is than another, both made of these images, row by row.

    What both owe to the choice of images cancels, so that the error is that of the difference.

    Args:
        features: (N, D), of images.
        others: (N, D), of what was made of them.
        than: (N, D), of what was made of them in another way.
        groups: (N,), images of one group depend on each other; None where each stands alone.
    """
    a, b, c = (x.double() for x in (features, others, than))

    def difference(rows: Tensor) -> Tensor:
        known = _moments(a[rows])
        return _distance(known, _moments(b[rows])) - _distance(known, _moments(c[rows]))

    return block_jackknife(difference, [torch.arange(len(a)) if groups is None else groups])


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    return features.mean(0), torch.atleast_2d(features.T.cov())


def _distance(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
    # Σ Σ' has the eigenvalues of a product of positive semi-definite matrices: real and not negative
    roots = torch.linalg.eigvals(a[1] @ b[1]).real.clamp(min=0).sqrt().sum()
    return (a[0] - b[0]).square().sum() + a[1].trace() + b[1].trace() - 2 * roots

"""The Fréchet distance of two sets of features (Heusel et al., 2017): with Inception's, FID."""

from __future__ import annotations

import torch
from torch import Tensor

from invkit.core import Estimate
from invkit.evaluation.estimate import Groups, block_jackknife, groups_of_both

__all__ = ["frechet_difference", "frechet_distance"]


def frechet_distance(features: Tensor, others: Tensor, groups: Groups = None, *, independent: bool = False) -> Estimate:
    """Return ‖μ − μ'‖² + tr(Σ + Σ' − 2 (Σ Σ')^½) of normal distributions with the moments of both sets.

    It is biased upwards by about 1/n; compare only distances of equally many images. The standard error is by the
    jackknife over blocks of groups, left out of both sets at once; NaN if a set is a single group.

    Args:
        features: features of images, (N, D).
        others: features of the images to compare with, (M, D).
        groups: rows of one group depend on each other: (N,) of both sets if `others` are generated from these images
            row by row, or a pair (N,) and (M,); None if each row depends only on the row of its number.
        independent: the others are not generated from these images, so that no group is in both sets.

    Example:
        >>> import torch
        >>> a = torch.randn(200, 4)
        >>> abs(frechet_distance(a, a)) < 1e-6, 3.9 < frechet_distance(a, a + 1) < 4.1
        (True, True)
    """
    a, b = features.double(), others.double()
    named = groups_of_both(groups, (len(a), len(b)), independent)
    return block_jackknife(lambda x, y: _distance(_moments(a[x]), _moments(b[y])), named)


def frechet_difference(features: Tensor, others: Tensor, than: Tensor, groups: Tensor | None = None) -> Estimate:
    """Return the difference of two Fréchet distances from the same images, to sets generated from them row by row.

    The effect of the choice of images cancels, so that the error is smaller than that of two independent estimates.

    Args:
        features: features of images, (N, D).
        others: features of images generated from them, (N, D).
        than: features of images generated from them in another way, (N, D); their distance is subtracted.
        groups: (N,), images of one group depend on each other; None if all are independent.

    Example:
        >>> import torch
        >>> a = torch.randn(200, 4)
        >>> 3.9 < frechet_difference(a, a + 1, a) < 4.1
        True
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

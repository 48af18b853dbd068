"""The kernel distance of two sets of features (Bińkowski et al., 2018): with Inception's, KID."""

from __future__ import annotations

from torch import Tensor

from invkit.core import Estimate
from invkit.data import evenly_spaced
from invkit.errors import DataError
from invkit.evaluation.estimate import Groups, block_jackknife, groups_of_both

__all__ = ["kernel_distance"]


def kernel_distance(
    features: Tensor, others: Tensor, groups: Groups = None, *, independent: bool = False, most: int = 1000
) -> Estimate:
    """Return the squared maximum mean discrepancy under the kernel (aᵀb / D + 1)³.

    Unlike the Fréchet distance it is unbiased, so that few images suffice; for sets of one distribution it scatters
    around zero. The standard error is by the jackknife over blocks of groups, left out of both sets at once; NaN if a
    set is a single group.

    Args:
        features: features of images, (N, D).
        others: features of the images to compare with, (M, D).
        groups: as in :func:`invkit.evaluation.frechet_distance`.
        independent: as in :func:`invkit.evaluation.frechet_distance`.
        most: largest number of rows of each set to use, at even distances; both sets use equally many.

    Raises:
        DataError: fewer than four rows.

    Example:
        >>> import torch
        >>> a, b = torch.randn(2, 200, 4)
        >>> kernel_distance(a, b, independent=True) < kernel_distance(a, b + 1, independent=True)
        True
    """
    n = min(len(features), len(others), most)
    if n < 4:
        raise DataError("Too few images for a kernel distance", expected="4 of each set, better 500", got=n)
    rows = [evenly_spaced(len(of), n) for of in (features, others)]
    a, b = (of[some].double() for of, some in zip((features, others), rows, strict=True))
    aa, bb, ab = _kernel(a, a), _kernel(b, b), _kernel(a, b)

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return _mean_of_pairs(aa[x][:, x]) + _mean_of_pairs(bb[y][:, y]) - 2 * ab[x][:, y].mean()

    named = groups_of_both(groups, (len(features), len(others)), independent)
    return block_jackknife(distance, [own[some] for own, some in zip(named, rows, strict=True)])


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _mean_of_pairs(k: Tensor) -> Tensor:
    """Return the mean of the off-diagonal elements of k (n, n)."""
    return (k.sum() - k.trace()) / (len(k) * (len(k) - 1))

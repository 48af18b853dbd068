"""The kernel distance of two sets of features (Bińkowski et al., 2018): with Inception's, KID."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from invkit.data import evenly
from invkit.errors import DataError
from invkit.evaluation.estimate import Estimate, blocks_of, standard_error
from invkit.seeds import seeded

__all__ = ["kernel_distance"]


def kernel_distance(
    features: Tensor, others: Tensor, groups: Tensor | None = None, *, most: int = 1000, seed: int = 0
) -> Estimate:
    """Give the squared maximum mean discrepancy under the kernel (aᵀb / D + 1)³, by torchmetrics.

    Other than the Fréchet distance it has no bias, so that few images do; where both sets have one distribution it
    scatters around zero. The standard error is the jackknife's over blocks of rows, left out of both sets at once.

    Args:
        features: (N, D), of images.
        others: (M, D), of those that are compared with them.
        groups: (M,), of these, which depend on each other; None where each stands alone.
        most: rows of each set to take, at even distances; the smaller set decides where there are fewer.
        seed: of torchmetrics' own draws, which only change the order of rows.

    Raises:
        DataError: fewer than four rows.
    """
    n = min(len(features), len(others), most)
    if n < 4:
        raise DataError("Too few images for a kernel distance", expected="4 of each set, better 500", got=n)
    rows = evenly(len(others), n)
    a, b = features[evenly(len(features), n)].double(), others[rows].double()
    blocks = blocks_of(n, None if groups is None else groups[rows])
    with seeded(seed, "kernel distance"):
        without = torch.stack([_distance(a[blocks != k], b[blocks != k]) for k in blocks.unique()])
        return Estimate(float(_distance(a, b)), standard_error(without), n)


class _Ready(nn.Module):
    """In the place of a feature network: features that are there already."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size

    def forward(self, features: Tensor) -> Tensor:
        return features


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """Give the unbiased estimate from all of as many rows of each, (M, D)."""
    from torchmetrics.image.kid import KernelInceptionDistance

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that features are kept in memory
        metric = KernelInceptionDistance(feature=_Ready(a.shape[1]), subsets=1, subset_size=len(a))
    metric.update(a, real=True)
    metric.update(b, real=False)
    found: Tensor = metric.compute()[0]
    return found

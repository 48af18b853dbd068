"""An independent check of eq. 20: what a ridge regression reads from the same representation."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor

from invkit.core import Estimate
from invkit.data import Concept
from invkit.evaluation.estimate import jackknife

__all__ = ["PROBED", "order_disagreements", "probe"]

PROBED = 2000  # images that are enough


def probe(
    z: Tensor,
    concepts: Mapping[str, Concept],
    held_out_z: Tensor,
    held_out_concepts: Mapping[str, Concept],
    groups: Tensor | None = None,
) -> dict[str, Estimate]:
    """Return the held-out R² of each concept (one-hot for classes) from z by ridge regression.

    The penalty is chosen by leave-one-out on the training rows. Pass what t sees of z (z̃, with its noise), so that
    both judge the same representation.

    Args:
        z: (N, …); :data:`PROBED` of them are enough.
        concepts: of the same images.
        held_out_z: (M, …).
        held_out_concepts: of those.
        groups: (M,), of those; images of one group depend on each other.
    """
    from sklearn.linear_model import RidgeCV

    x, x_new = z.flatten(1), held_out_z.flatten(1)
    penalties = [x.shape[1] * 10.0**k for k in range(-4, 3)]
    results = {}
    for name, concept in concepts.items():
        y, y_new = concept.targets(), held_out_concepts[name].targets()
        fitted = RidgeCV(alphas=penalties).fit(x.numpy(), y.numpy()).predict(x_new.numpy())
        error = (torch.from_numpy(fitted).reshape(y_new.shape) - y_new).square().sum(1)
        spread = (y_new - y.mean(0)).square().sum(1)
        units = torch.stack([error, spread], 1).double()
        results[name] = jackknife(lambda m: 1 - m[..., 0] / m[..., 1].clamp(min=1e-12), units, len(units), groups)
    return results


def order_disagreements(shares: Mapping[str, Estimate], probes: Mapping[str, Estimate]) -> list[tuple[str, str]]:
    """List the pairs of concepts (a, b) of which a has the larger share, but b is the better to be read.

    Both differences are beyond two standard errors.

    Args:
        shares: by concept, eq. 20.
        probes: by concept, what :func:`probe` gives.
    """

    def above(values: Mapping[str, Estimate], a: str, b: str) -> bool:
        difference = values[a] - values[b]
        return difference.value > 2 * difference.standard_error

    pairs = itertools.permutations([name for name in shares if name in probes], 2)
    return [(a, b) for a, b in pairs if above(shares, a, b) and above(probes, b, a)]

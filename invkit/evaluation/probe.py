"""An independent check of eq. 20: ridge regression of concepts on the representation."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor

from invkit.core import Estimate
from invkit.data import Concept
from invkit.evaluation.estimate import jackknife

__all__ = ["PROBED", "order_disagreements", "probe"]

PROBED = 2000  #: number of training images that suffices for a probe


def probe(
    z: Tensor,
    concepts: Mapping[str, Concept],
    held_out_z: Tensor,
    held_out_concepts: Mapping[str, Concept],
    groups: Tensor | None = None,
) -> dict[str, Estimate]:
    """Return the held-out R² of each concept (one-hot for classes) from z by ridge regression.

    The penalty is chosen by leave-one-out cross-validation on the training images. Pass what t sees of z (z̃, with its
    noise), so that probe and t use the same representation.

    Args:
        z: representations of training images, (N, …); :data:`PROBED` images suffice.
        concepts: concepts of the same images.
        held_out_z: representations of held-out images, (M, …).
        held_out_concepts: concepts of the held-out images.
        groups: (M,), held-out images of one group depend on each other.

    Example:
        >>> import torch
        >>> from invkit.data import Concept
        >>> z, held_out_z = torch.randn(200, 5), torch.randn(100, 5)
        >>> concepts, held_out_concepts = ({"sum": Concept("value", x.sum(1, True))} for x in (z, held_out_z))
        >>> float(probe(z, concepts, held_out_z, held_out_concepts)["sum"]) > 0.99
        True
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
    """Return the pairs of concepts (a, b) where a has the larger share, but b the larger R².

    Only differences beyond two standard errors count.

    Args:
        shares: eq. 20 by concept.
        probes: R² by concept, from :func:`probe`.

    Example:
        >>> from invkit.core import Estimate
        >>> shares = {"digit": Estimate(0.8, 0.01, 600), "colour": Estimate(0.6, 0.01, 600)}
        >>> probes = {"digit": Estimate(0.3, 0.02, 600), "colour": Estimate(0.5, 0.02, 600)}
        >>> order_disagreements(shares, probes)
        [('digit', 'colour')]
    """

    def above(values: Mapping[str, Estimate], a: str, b: str) -> bool:
        return (values[a] - values[b]).exceeds() is True

    pairs = itertools.permutations([name for name in shares if name in probes], 2)
    return [(a, b) for a, b in pairs if above(shares, a, b) and above(probes, b, a)]

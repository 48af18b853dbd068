"""How much of a variance is whose: eq. 19 and 20 with standard errors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from invkit.evaluation.estimate import Estimate, jackknife
from invkit.flows import InvarianceFlow, SemanticFlow
from invkit.seeds import generator_for

__all__ = ["concept_shares", "invariance", "within_share"]

_INNER = 20  # draws within a group; with 500 groups the paper's 10k samples


def within_share(groups: Tensor) -> Estimate:
    """Give the share of the total variance that lies within groups, E[Var within] / Var total.

    The total is put together from its two unbiased parts, within and between groups (one-way analysis of
    variance), since samples of one group are not independent. The standard error is the jackknife's over groups.

    Args:
        groups: (M, n, D): M independent groups of n samples; the variance of a vector is the sum over D.
    """
    _, n, _ = groups.shape
    groups = groups.double()
    within = groups.var(1).sum(-1)
    means = groups.mean(1)
    # the variance of the means from moments, so that leaving one group out is a change of the mean
    centred = means - means.mean(0)
    units = torch.cat([within[:, None], centred.square().sum(-1)[:, None], centred], 1)
    m = len(groups)

    def share(moments: Tensor) -> Tensor:
        inner, square, shift = moments[..., 0], moments[..., 1], moments[..., 2:]
        between = (square - shift.square().sum(-1)) * m / (m - 1) - inner / n
        return inner / (inner + between).clamp(min=1e-12)

    return jackknife(share, units, groups.shape[0] * n)


@torch.no_grad()
def invariance(t: InvarianceFlow, z: Tensor, *, n: int = 10_000, seed: int = 0) -> Estimate:
    """Give eq. 19: the share of the variance of z̄ that is left when z is known.

    Args:
        t: the flow.
        z: held-out representations (M, …).
        n: about how many samples to draw.
        seed: of the draws.
    """
    generator = generator_for(seed, "invariance")
    rows = torch.randperm(len(z), generator=generator)[: max(2, n // _INNER)]
    seen = t.perceive(z[rows], generator)
    inner = max(2, n // len(rows))
    return within_share(torch.cat([t.sample(part, inner, generator) for part in seen.split(100)]))


@torch.no_grad()
def concept_shares(
    t: InvarianceFlow, e: SemanticFlow, z: Tensor, *, n: int = 10_000, seed: int = 0
) -> Mapping[str, Estimate]:
    """Give eq. 20 of every factor of e, the residual too: the share of its variance that z explains.

    Args:
        t: the flow.
        e: the semantic flow.
        z: held-out representations (M, …).
        n: about how many samples to draw.
        seed: of the draws.
    """
    generator = generator_for(seed, "concepts")
    groups = max(2, n // _INNER)
    dim = sum(e.factors.values())
    values = []
    for start in range(0, groups, 100):
        v = torch.randn(min(100, groups - start), 1, dim, generator=generator).expand(-1, _INNER, -1).flatten(0, 1)
        rows = torch.randint(len(z), (len(v),), generator=generator)
        latents = t.inverse(v, t.perceive(z[rows], generator))
        values.append(e(latents).value.unflatten(0, (-1, _INNER)))
    factors = torch.cat(values)
    return {name: within_share(factors[..., place]) for name, place in e.slices.items()}

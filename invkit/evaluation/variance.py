"""How much of a variance is whose: eq. 19 and 20 with standard errors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from invkit.evaluation.estimate import Estimate, jackknife
from invkit.flows import InvarianceFlow, SemanticFlow
from invkit.seeds import generator_for

__all__ = ["concept_shares", "determined_shares", "invariance", "within_share"]

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
def _codes_of_images(t: InvarianceFlow, z: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draw about n codes, grouped by representation, (M, n / M, N)."""
    rows = torch.randperm(len(z), generator=generator)[: max(2, n // _INNER)]
    seen = t.perceive(z[rows], generator)
    inner = max(2, n // len(rows))
    return torch.cat([t.sample(part, inner, generator) for part in seen.split(100)])


@torch.no_grad()
def _codes_of_draws(t: InvarianceFlow, z: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draw about n codes, grouped by v, (M, n / M, N)."""
    groups, codes = max(2, n // _INNER), []
    for start in range(0, groups, 100):
        v = torch.randn(min(100, groups - start), 1, t.dim, generator=generator).expand(-1, _INNER, -1).flatten(0, 1)
        rows = torch.randint(len(z), (len(v),), generator=generator)
        codes.append(t.inverse(v, t.perceive(z[rows], generator)).unflatten(0, (-1, _INNER)))
    return torch.cat(codes)


@torch.no_grad()
def _shares_of_factors(e: SemanticFlow, codes: Tensor) -> dict[str, Estimate]:
    """Give the share of each factor's variance that lies within the groups of codes (M, n, N)."""
    factors = torch.cat([e(part.flatten(0, 1)).value.unflatten(0, part.shape[:2]) for part in codes.split(100)])
    return {name: within_share(factors[..., place]) for name, place in e.slices.items()}


def invariance(t: InvarianceFlow, z: Tensor, *, n: int = 10_000, seed: int = 0) -> Estimate:
    """Give eq. 19: the share of the variance of z̄ that is left when z is known.

    Args:
        t: the flow.
        z: held-out representations (M, …).
        n: about how many samples to draw.
        seed: of the draws.
    """
    return within_share(_codes_of_images(t, z, n, generator_for(seed, "invariance")))


def concept_shares(
    t: InvarianceFlow, e: SemanticFlow, z: Tensor, *, n: int = 10_000, seed: int = 0
) -> Mapping[str, Estimate]:
    """Give eq. 20 of every factor of e, the residual too: the share of its variance that z explains at fixed v.

    In the language of sensitivity analysis (Saltelli et al., *Global Sensitivity Analysis*, 2008) it is the
    total-effect index of z: whatever z does alone and together with v. It depends on which v the flow pairs with
    which image.

    Args:
        t: the flow.
        e: the semantic flow.
        z: held-out representations (M, …).
        n: about how many samples to draw.
        seed: of the draws.
    """
    return _shares_of_factors(e, _codes_of_draws(t, z, n, generator_for(seed, "concepts")))


def determined_shares(
    t: InvarianceFlow, e: SemanticFlow, z: Tensor, *, n: int = 10_000, seed: int = 0
) -> Mapping[str, Estimate]:
    """Give the share of every factor's variance that z alone determines: Var_x E_v[e_i] / Var e_i.

    The first-order index of z, and one minus eq. 19 taken in e_i's space. It depends on p(z̄ | z) alone, and is the R²
    of the best possible regression of e_i on z. At most eq. 20.

    Args:
        t: as all others, see :func:`concept_shares`.
        e: the semantic flow.
        z: held-out representations (M, …).
        n: about how many samples to draw.
        seed: of the draws.
    """
    left_open = _shares_of_factors(e, _codes_of_images(t, z, n, generator_for(seed, "determined")))
    return {name: Estimate(1 - x.value, x.standard_error, x.n) for name, x in left_open.items()}

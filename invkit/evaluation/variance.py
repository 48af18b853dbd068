"""How much of a variance is whose: eq. 19 and 20 with standard errors."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from invkit.evaluation.estimate import Estimate, jackknife, standard_error
from invkit.flows import InvarianceFlow, SemanticFlow
from invkit.seeds import generator_for

__all__ = ["concept_shares", "determined_shares", "invariance", "within_share"]

_INNER = 20  # draws within a set; with 500 sets the paper's 10k samples
_BLOCKS = 20  # of images, each left out once


def within_share(samples: Tensor, groups: Tensor | None = None) -> Estimate:
    """Give the share of the total variance that lies within sets of samples, E[Var within] / Var total.

    The total is put together from its two unbiased parts, within and between sets (one-way analysis of
    variance), since samples of one set are not independent. The standard error is the jackknife's over sets.

    Args:
        samples: (M, n, D): M sets of n samples; the variance of a vector is the sum over D.
        groups: (M,), sets of one group depend on each other, as copies of one image do.
    """
    units, m, n = _moments(samples.double()), *samples.shape[:2]
    return jackknife(lambda mean: _share(mean, m, 1 / n), units, m * n, groups)


def _moments(samples: Tensor, kept: Tensor | None = None) -> Tensor:
    """Give for each set what the share is made of, (M, 2 + D): variance within, and the centred mean and its square.

    Args:
        samples: (M, n, D).
        kept: (M, n), which samples count, two of each set or more; None for all.
    """
    weight = torch.ones(samples.shape[:2]).to(samples) if kept is None else kept.to(samples)
    count = weight.sum(1, keepdim=True)
    means = (weight[..., None] * samples).sum(1) / count
    within = (weight[..., None] * (samples - means[:, None]).square()).sum((1, 2)) / (count[:, 0] - 1)
    centred = means - means.mean(0)
    return torch.cat([within[:, None], centred.square().sum(-1, keepdim=True), centred], 1)


def _share(moments: Tensor, m: int, inverse_n: float) -> Tensor:
    """Give the share from the mean of :func:`_moments` over M sets, for the mean of 1 / n."""
    inner, square, shift = moments[..., 0], moments[..., 1], moments[..., 2:]
    between = (square - shift.square().sum(-1)) * m / (m - 1) - inner * inverse_n
    return inner / (inner + between).clamp(min=1e-12)


@torch.no_grad()
def _codes_of_images(t: InvarianceFlow, z: Tensor, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw about n codes in sets of one image each, (M, n / M, N); and the rows of these images, (M,)."""
    rows = torch.randperm(len(z), generator=generator)[: max(2, n // _INNER)]
    seen = t.perceive(z[rows], generator)
    inner = max(2, n // len(rows))
    return torch.cat([t.sample(part, inner, generator) for part in seen.split(100)]), rows


@torch.no_grad()
def _codes_of_draws(t: InvarianceFlow, z: Tensor, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw about n codes in sets of one v each, (M, n / M, N); and the row of the image of each, (M, n / M)."""
    sets, codes, images = max(2, n // _INNER), [], []
    for start in range(0, sets, 100):
        v = torch.randn(min(100, sets - start), 1, t.dim, generator=generator).expand(-1, _INNER, -1).flatten(0, 1)
        rows = torch.randint(len(z), (len(v),), generator=generator)
        codes.append(t.inverse(v, t.perceive(z[rows], generator)).unflatten(0, (-1, _INNER)))
        images.append(rows.view(-1, _INNER))
    return torch.cat(codes), torch.cat(images)


@torch.no_grad()
def _factors(e: SemanticFlow, codes: Tensor) -> dict[str, Tensor]:
    """Give every factor of e of codes (M, n, N), (M, n, D_i) by name."""
    values = torch.cat([e(part.flatten(0, 1)).value.unflatten(0, part.shape[:2]) for part in codes.split(100)])
    return {name: values[..., place] for name, place in e.slices.items()}


def invariance(
    t: InvarianceFlow, z: Tensor, *, groups: Tensor | None = None, n: int = 10_000, seed: int = 0
) -> Estimate:
    """Give eq. 19: the share of the variance of z̄ that is left when z is known.

    Args:
        t: the flow.
        z: held-out representations (M, …).
        groups: (M,), images of one group depend on each other; None where each stands alone.
        n: about how many samples to draw.
        seed: of the draws.
    """
    codes, rows = _codes_of_images(t, z, n, generator_for(seed, "invariance"))
    return within_share(codes, None if groups is None else groups[rows])


def concept_shares(
    t: InvarianceFlow, e: SemanticFlow, z: Tensor, *, groups: Tensor | None = None, n: int = 10_000, seed: int = 0
) -> Mapping[str, Estimate]:
    """Give eq. 20 of every factor of e, the residual too: the share of its variance that z explains at fixed v.

    In the language of sensitivity analysis (Saltelli et al., *Global Sensitivity Analysis*, 2008) it is the
    total-effect index of z: whatever z does alone and together with v. It depends on which v the flow pairs with
    which image. The standard error has two parts, of the draws of v and of the choice of images.

    Args:
        t: the flow.
        e: the semantic flow.
        z: held-out representations (M, …).
        groups: as of :func:`invariance`.
        n: about how many samples to draw.
        seed: of the draws.
    """
    generator = generator_for(seed, "concepts")
    codes, rows = _codes_of_draws(t, z, n, generator)
    names = (torch.arange(len(z)) if groups is None else groups).unique(return_inverse=True)[1]
    blocks = torch.randint(_BLOCKS, (int(names.max()) + 1,), generator=generator)[names][rows]
    shares = {}
    for name, factor in _factors(e, codes).items():
        share = within_share(factor)
        error = math.hypot(share.standard_error, _error_of_images(factor.double(), blocks))
        shares[name] = Estimate(share.value, error, share.n)
    return shares


def _error_of_images(samples: Tensor, blocks: Tensor) -> float:
    """Give the standard error of :func:`within_share` that comes from the choice of images.

    Args:
        samples: (M, n, D).
        blocks: (M, n), block of images that each sample is of; left out one at a time.
    """
    without = []
    for block in blocks.unique():
        kept = blocks != block
        enough = kept.sum(1) >= 2
        moments = _moments(samples[enough], kept[enough])
        without.append(_share(moments.mean(0), len(moments), float((1 / kept[enough].sum(1)).mean())))
    return standard_error(torch.stack(without)) if len(without) > 1 else math.nan


def determined_shares(
    t: InvarianceFlow, e: SemanticFlow, z: Tensor, *, groups: Tensor | None = None, n: int = 10_000, seed: int = 0
) -> Mapping[str, Estimate]:
    """Give the share of every factor's variance that z alone determines: Var_x E_v[e_i] / Var e_i.

    The first-order index of z, and one minus eq. 19 taken in e_i's space. It depends on p(z̄ | z) alone, and is the R²
    of the best possible regression of e_i on z. At most eq. 20.

    Args:
        t: as all others, see :func:`concept_shares`.
        e: the semantic flow.
        z: held-out representations (M, …).
        groups: as of :func:`invariance`.
        n: about how many samples to draw.
        seed: of the draws.
    """
    codes, rows = _codes_of_images(t, z, n, generator_for(seed, "determined"))
    chosen = None if groups is None else groups[rows]
    left_open = {name: within_share(factor, chosen) for name, factor in _factors(e, codes).items()}
    return {name: Estimate(1 - x.value, x.standard_error, x.n) for name, x in left_open.items()}

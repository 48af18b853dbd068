"""Shares of variance: eq. 19 and 20 with standard errors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from invkit.core import Estimate
from invkit.errors import DataError
from invkit.evaluation.estimate import jackknife, standard_error
from invkit.flows import InvarianceFlow, SemanticFlow
from invkit.utils.random import generator_for

__all__ = ["concept_shares", "determined_shares", "invariance", "invariance_rise", "within_share"]

_INNER = 20  # draws per set; with 500 sets the paper's 10k samples
_BLOCKS = 20  # jackknife blocks of images
_SETS = 100  # sets per batch


def within_share(samples: Tensor, groups: Tensor | None = None) -> Estimate:
    """Return the share of the total variance that lies within sets of samples, E[Var within] / Var total.

    The total is the sum of two unbiased estimates, within and between sets (one-way analysis of variance), since
    samples of one set are not independent. The standard error is by the jackknife over sets.

    Args:
        samples: (M, n, D): M sets of n samples; the variance of a vector is the sum over D.
        groups: (M,), sets of one group depend on each other, as augmented copies of one image do; None if all are
            independent.

    Example:
        >>> centres = torch.randn(400, 1, 3)
        >>> 0.45 < within_share(centres + torch.randn(400, 5, 3)) < 0.55
        True
    """
    return _within_share(_moments(samples.double()), samples.shape[1], groups)


def _within_share(moments: Tensor, n: int, groups: Tensor | None = None) -> Estimate:
    m = len(moments)
    return jackknife(lambda mean: _share(mean, m, 1 / n), moments, m * n, groups)


def _moments(samples: Tensor, kept: Tensor | None = None) -> Tensor:
    """Return the moments of each set, (M, 2 + D): variance within, squared norm of the mean, and the mean.

    Args:
        samples: (M, n, D).
        kept: (M, n), bool, the samples to use, at least two of each set; None for all.
    """
    weight = torch.ones(samples.shape[:2]).to(samples) if kept is None else kept.to(samples)
    count = weight.sum(1, keepdim=True)
    means = (weight[..., None] * samples).sum(1) / count
    within = (weight[..., None] * (samples - means[:, None]).square()).sum((1, 2)) / (count[:, 0] - 1)
    return torch.cat([within[:, None], means.square().sum(-1, keepdim=True), means], 1)


def _share(moments: Tensor, m: Tensor | int, inverse_n: Tensor | float) -> Tensor:
    """Return the share from the mean of :func:`_moments` over M sets, for the mean of 1 / n."""
    inner, square, mean = moments[..., 0], moments[..., 1], moments[..., 2:]
    between = (square - mean.square().sum(-1)) * m / (m - 1) - inner * inverse_n
    return inner / (inner + between).clamp(min=1e-12)


def _images_drawn(z: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Return the rows of the images for about n codes."""
    return torch.randperm(len(z), generator=generator)[: max(2, n // _INNER)]


@torch.no_grad()
def _codes_of_images(
    t: InvarianceFlow, z: Tensor, rows: Tensor, n: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Draw about n codes, one set per image; yield batches of sets (·, n / M, N)."""
    inner = max(2, n // len(rows))
    for part in rows.split(_SETS):
        yield t.sample(t.perceive(z[part], generator), inner, generator)


@torch.no_grad()
def _codes_of_draws(
    t: InvarianceFlow, z: Tensor, n: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw about n codes, one set per v; yield batches of sets (·, n / M, N) and the rows of their images."""
    h = t.condition(z, generator)
    for start in range(0, (sets := max(2, n // _INNER)), _SETS):
        v = torch.randn(min(_SETS, sets - start), 1, t.dim, generator=generator).expand(-1, _INNER, -1).flatten(0, 1)
        rows = torch.randint(len(z), (len(v),), generator=generator)
        yield t.inverse_given(v, h[rows]).unflatten(0, (-1, _INNER)), rows.view(-1, _INNER)


@torch.no_grad()
def _factors(e: SemanticFlow, codes: Tensor) -> dict[str, Tensor]:
    """Return the factors (M, n, D_i) of codes (M, n, N) by name, in float64."""
    values = e(codes.flatten(0, 1)).value.double().unflatten(0, codes.shape[:2])
    return {name: values[..., place] for name, place in e.slices.items()}


def invariance(
    t: InvarianceFlow, z: Tensor, *, groups: Tensor | None = None, n: int = 10_000, seed: int = 0
) -> Estimate:
    """Return the invariance (eq. 19): the share of the variance of z̄ that is left when z is known.

    Args:
        t: the conditional flow.
        z: representations of held-out images, (M, …).
        groups: (M,), images of one group depend on each other; None if all are independent.
        n: approximate number of samples.
        seed: of the draws.

    Example:
        >>> 0 < invariance(explanation.t, explanation.held_out.z, n=400) < 1.5
        True
    """
    moments, inner, chosen = _moments_given(t, z, groups, n, seed)
    return _within_share(moments, inner, chosen)


def invariance_rise(
    a: tuple[InvarianceFlow, Tensor],
    b: tuple[InvarianceFlow, Tensor],
    *,
    groups: Tensor | None = None,
    n: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """Return eq. 19 of layer b minus that of layer a, on the same images.

    The effect of the choice of images cancels, so that the error is smaller than that of two independent estimates.

    Args:
        a: flow and held-out representations (M, …) of a layer.
        b: flow and held-out representations of another layer, of the same images.
        groups: as in :func:`invariance`.
        n: approximate number of samples per layer.
        seed: of the draws.

    Raises:
        DataError: the layers have different numbers of images.

    Example:
        >>> a, b = ((found.t, found.held_out.z) for found in profile.explanations.values())
        >>> -1 < invariance_rise(a, b, n=400) < 1
        True
    """
    if len(a[1]) != len(b[1]):
        raise DataError("Layers are compared on the same images", expected=f"{len(a[1])} of both", got=len(b[1]))
    (moments, inner, chosen), (others, _, _) = (_moments_given(*layer, groups, n, seed) for layer in (a, b))
    m, width = len(moments), moments.shape[1]

    def rise(mean: Tensor) -> Tensor:
        return _share(mean[..., width:], m, 1 / inner) - _share(mean[..., :width], m, 1 / inner)

    return jackknife(rise, torch.cat([moments, others], 1), m * inner, chosen)


def _moments_given(
    t: InvarianceFlow, z: Tensor, groups: Tensor | None, n: int, seed: int
) -> tuple[Tensor, int, Tensor | None]:
    """Draw codes for some images; return their moments, their number per image, and the images' groups."""
    generator = generator_for(seed, "invariance")
    rows = _images_drawn(z, n, generator)
    drawn = [(_moments(codes.double()), codes.shape[1]) for codes in _codes_of_images(t, z, rows, n, generator)]
    return torch.cat([moments for moments, _ in drawn]), drawn[0][1], None if groups is None else groups[rows]


def concept_shares(
    t: InvarianceFlow, e: SemanticFlow, z: Tensor, *, groups: Tensor | None = None, n: int = 10_000, seed: int = 0
) -> Mapping[str, Estimate]:
    """Return eq. 20 of each factor of e, the residual included: the share of its variance that z explains at fixed v.

    In sensitivity analysis (Saltelli et al., *Global Sensitivity Analysis*, 2008) this is the total-effect index of z:
    the effect of z alone and in interaction with v. It depends on which v the flow pairs with which image. The standard
    error has two parts, from the draws of v and from the choice of images.

    Args:
        t: the conditional flow.
        e: the semantic flow.
        z: representations of held-out images, (M, …).
        groups: as in :func:`invariance`.
        n: approximate number of samples.
        seed: of the draws.

    Example:
        >>> shares = concept_shares(explanation.t, explanation.e, explanation.held_out.z, n=400)
        >>> list(shares)
        ['residual', 'digit', 'foreground', 'background']
    """
    generator = generator_for(seed, "concepts")
    names = (torch.arange(len(z)) if groups is None else groups).unique(return_inverse=True)[1]
    blocks = torch.randint(_BLOCKS, (int(names.max()) + 1,), generator=generator)[names]
    moments: dict[str, list[Tensor]] = {name: [] for name in e.slices}
    without = {name: _ImageJackknife(place.stop - place.start) for name, place in e.slices.items()}
    for codes, rows in _codes_of_draws(t, z, n, generator):
        for name, factor in _factors(e, codes).items():
            moments[name].append(_moments(factor))
            without[name].add(factor, blocks[rows])
    shares = {}
    for name, parts in moments.items():
        share = _within_share(torch.cat(parts), _INNER)
        error = math.hypot(share.standard_error, without[name].standard_error())
        shares[name] = Estimate(share.value, error, share.n)
    return shares


class _ImageJackknife:
    """The part of the standard error of :func:`within_share` that is due to the choice of images, from sums over sets.

    Args:
        dim: D.
    """

    def __init__(self, dim: int) -> None:
        self._sums = torch.zeros(_BLOCKS, 2 + dim, dtype=torch.double)
        self._sets, self._inverse = torch.zeros(2, _BLOCKS, dtype=torch.double)
        self._seen = torch.zeros(_BLOCKS, dtype=torch.bool)

    def add(self, samples: Tensor, blocks: Tensor) -> None:
        """Add a batch of sets.

        Args:
            samples: (M, n, D).
            blocks: (M, n), the block of each sample's image; blocks are left out one at a time.
        """
        for block in range(_BLOCKS):
            kept = blocks != block
            enough = kept.sum(1) >= 2
            self._sums[block] += _moments(samples[enough], kept[enough]).sum(0)
            self._sets[block] += int(enough.sum())
            self._inverse[block] += float((1 / kept[enough].sum(1)).sum())
            self._seen[block] |= not bool(kept.all())

    def standard_error(self) -> float:
        """Return the standard error; NaN if all images are in one block."""
        if self._seen.sum() < 2:
            return math.nan
        sums, sets, inverse = (values[self._seen] for values in (self._sums, self._sets, self._inverse))
        return standard_error(_share(sums / sets[:, None], sets, inverse / sets))


def determined_shares(
    t: InvarianceFlow, e: SemanticFlow, z: Tensor, *, groups: Tensor | None = None, n: int = 10_000, seed: int = 0
) -> Mapping[str, Estimate]:
    """Return the share of each factor's variance that z alone determines: Var_x E_v[e_i] / Var e_i.

    This is the first-order index of z, and one minus eq. 19 in e_i's space. It depends on p(z̄ | z) alone, and is the R²
    of the best possible regression of e_i on z. It is at most eq. 20.

    Args:
        t: the conditional flow.
        e: the semantic flow.
        z: representations of held-out images, (M, …).
        groups: as in :func:`invariance`.
        n: approximate number of samples.
        seed: of the draws.

    Example:
        >>> shares = determined_shares(explanation.t, explanation.e, explanation.held_out.z, n=400)
        >>> all(share <= 1 for share in shares.values())
        True
    """
    generator = generator_for(seed, "determined")
    rows = _images_drawn(z, n, generator)
    chosen, inner = None if groups is None else groups[rows], 0
    moments: dict[str, list[Tensor]] = {name: [] for name in e.slices}
    for codes in _codes_of_images(t, z, rows, n, generator):
        inner = codes.shape[1]
        for name, factor in _factors(e, codes).items():
            moments[name].append(_moments(factor))
    return {name: 1 - _within_share(torch.cat(parts), inner, chosen) for name, parts in moments.items()}

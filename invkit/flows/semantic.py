"""e, the semantic INN: z̄ to one factor per concept and a residual (paper, sec. 3.2; eq. 8-13)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from invkit.core import FlowBlock, Transformed
from invkit.errors import SettingsError
from invkit.flows.invariance import standard_normal_nll
from invkit.flows.sequence import FlowSequence

__all__ = ["RESIDUAL", "SemanticFlow", "estimate_factor_sizes", "pair_nll"]

RESIDUAL = "residual"


def pair_nll(e_a: Tensor, e_b: Tensor, shared: Tensor, rho: float = 0.9) -> Tensor:
    """Return −log p(e^a, e^b) of each pair, normalised, in nats (eq. 10, 11, 13).

    Args:
        e_a: (B, N).
        e_b: (B, N).
        shared: (B, N) or (N,), true on the dimensions I_i of the concept that the pair shares.
        rho: correlation ρ of shared dimensions, in (0, 1).

    Returns:
        (B,).

    Example:
        >>> import torch
        >>> from invkit.flows import pair_nll
        >>> shared = torch.tensor([True, True, False])
        >>> pair_nll(torch.zeros(2, 3), torch.zeros(2, 3), shared).shape
        torch.Size([2])
    """
    correlation = rho * shared.to(e_a.dtype)
    variance = 1 - correlation.square()
    whitened = (e_b - correlation * e_a) / variance.sqrt()
    log_det = 0.5 * variance.log().expand_as(e_a).sum(-1)
    return standard_normal_nll(e_a) + standard_normal_nll(whitened) + log_det


def estimate_factor_sizes(
    latents: Tensor, partners: Mapping[str, Tensor], *, most: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Divide N dimensions among concepts and a residual by how much pairs have in common.

    score_i = Σ_k Cov(z̄^a_k, z̄^b_k) / Σ_k Var(z̄_k); the residual scores 1; sizes are softmax(score) × N
    (authors' released code of the sister paper, Esser et al., CVPR 2020). A concept with few values cannot fill many
    dimensions that correlate by ρ, and e would ignore it; hence the upper bounds.

    Args:
        latents: (B, N).
        partners: for each concept the codes (B, N) of images that share it, row by row.
        most: largest size by concept, if any.

    Returns:
        sizes by name, `residual` first; they sum to N.

    Example:
        >>> import torch
        >>> from invkit.flows import estimate_factor_sizes
        >>> latents = torch.randn(1000, 12)
        >>> estimate_factor_sizes(latents, {"same": latents, "other": torch.randn(1000, 12)})["same"]
        5
    """
    centred = latents - latents.mean(0)
    total = centred.square().mean(0).sum()
    scores = [latents.new_tensor(1.0)]
    for other in partners.values():
        scores.append((centred * (other - other.mean(0))).mean(0).sum() / total)
    n = latents.shape[1]
    sizes = {name: int(s) for name, s in zip(partners, torch.stack(scores).softmax(0)[1:] * n, strict=True)}
    sizes = {name: max(1, min(size, (most or {}).get(name, size))) for name, size in sizes.items()}
    return {RESIDUAL: n - sum(sizes.values()), **sizes}


class SemanticFlow(nn.Module):
    """An unconditional flow whose output dimensions are split into named factors.

    Args:
        blocks: unconditional blocks over z̄ (B, N).
        factors: size of each factor, the residual e_0 included under ``residual``; they sum to N.
        rho: correlation ρ of the factor that a pair shares.

    Raises:
        SettingsError: the sizes don't sum to N, one is below 1, or there is no ``residual``.

    Example:
        >>> import torch
        >>> from invkit.flows import FlowSettings, SemanticFlow
        >>> e = SemanticFlow(FlowSettings(n_flow=2, width=16).blocks(6), {"residual": 4, "colour": 2})
        >>> latents, donors = torch.randn(2, 3, 6)
        >>> e(latents).value[:, e.slices["colour"]].shape, e.swap(latents, donors, "colour").shape
        (torch.Size([3, 2]), torch.Size([3, 6]))
    """

    def __init__(self, blocks: list[FlowBlock], factors: Mapping[str, int], rho: float = 0.9) -> None:
        super().__init__()
        self.blocks = FlowSequence(blocks)
        self.factors = dict(factors)
        self.rho = rho
        n = blocks[0].dim
        if sum(self.factors.values()) != n or min(self.factors.values()) < 1 or RESIDUAL not in self.factors:
            raise SettingsError(
                "The factor sizes do not fit the code",
                expected=f"positive sizes that sum to {n}, one of them '{RESIDUAL}'",
                got=str(self.factors),
                hint="Without `factor_sizes` they are estimated.",
            )
        self.slices: dict[str, slice] = {}
        start = 0
        for name, size in self.factors.items():
            self.slices[name] = slice(start, start + size)
            start += size

    @property
    def device(self) -> torch.device:
        """Device of the flow: a GPU only while it is trained on one."""
        return next(self.parameters()).device

    @property
    def concepts(self) -> list[str]:
        """Names of the factors without the residual."""
        return [name for name in self.factors if name != RESIDUAL]

    def shared_mask(self, device: torch.device | None = None) -> Tensor:
        """Return a mask (K, N), row i true on the dimensions I_i of concept i."""
        mask = torch.zeros(len(self.concepts), sum(self.factors.values()), dtype=torch.bool, device=device)
        for row, name in zip(mask, self.concepts, strict=True):
            row[self.slices[name]] = True
        return mask

    def initialize(self, latents: Tensor) -> None:
        """Initialise every actnorm from codes (B, N)."""
        self.blocks.initialize(latents)

    def forward(self, latents: Tensor) -> Transformed:
        """Return all factors concatenated, (B, N), and the log-determinant (B,)."""
        result: Transformed = self.blocks(latents)
        return result

    def inverse(self, values: Tensor) -> Tensor:
        """Return the codes z̄ of factors (B, N)."""
        return self.blocks.inverse(values).value

    def nll(self, latents_a: Tensor, latents_b: Tensor, concept: Tensor) -> Tensor:
        """Return the pair loss (eq. 12) of each pair, in nats, (B,).

        Args:
            latents_a: (B, N).
            latents_b: (B, N), codes of images that share one concept with those of `latents_a`.
            concept: (B,), index of that concept in :attr:`concepts`.
        """
        values, log_det = self(torch.cat([latents_a, latents_b]))
        e_a, e_b = values.chunk(2)
        log_det_a, log_det_b = log_det.chunk(2)
        shared = self.shared_mask(values.device)[concept]
        return pair_nll(e_a, e_b, shared, self.rho) - log_det_a - log_det_b

    def swap(self, latents: Tensor, donors: Tensor, concept: str) -> Tensor:
        """Return codes whose factor `concept` is that of the donors: e⁻¹ of e(z̄) with e_i(z̄*) in its place."""
        values = self(latents).value.clone()
        values[:, self.slices[concept]] = self(donors).value[:, self.slices[concept]]
        return self.inverse(values)

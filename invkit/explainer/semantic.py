"""Training of the semantic flow e (paper, sec. 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from invkit.data import Pairing
from invkit.explainer.invariance import SOME
from invkit.explainer.validation import with_residual
from invkit.flows import SemanticFlow, estimate_factor_sizes
from invkit.settings import Settings
from invkit.training import AnchorTask, SemanticTask, fit
from invkit.utils import distributed
from invkit.utils.random import generator_for, seeded

if TYPE_CHECKING:
    from invkit.explainer.explainer import Explainer

__all__ = ["build_e", "train_e"]


def build_e(
    settings: Settings, code: tuple[int, ...], sizes: Mapping[str, int], latents: Tensor, seed: int = 0
) -> SemanticFlow:
    """Build e for codes of a shape, initialised from some codes (B, N)."""
    with seeded(seed, "build", "e"):
        e = SemanticFlow(settings.e.blocks(code, seed=seed), sizes, settings.rho)
    e.initialize(latents)
    return e


def train_e(explainer: Explainer, strict: bool = False) -> SemanticFlow:
    """Train e for the concepts of the images: first towards anchors, then on pairs."""
    settings, codes, seed = explainer.settings, explainer.codes, explainer.seed
    concepts = explainer.train_copies.concepts
    generator = generator_for(seed, "partners")
    rows = torch.randperm(len(codes), generator=generator)[:SOME]
    factor_sizes = settings.factor_sizes
    if not factor_sizes:
        partners = {name: codes.mean[Pairing(c).draw(rows, generator)] for name, c in concepts.items()}
        most = {name: c.dimensions for name, c in concepts.items()}
        factor_sizes = estimate_factor_sizes(codes.mean[rows], partners, most=most)
    sizes = with_residual(factor_sizes, codes.mean.shape[1])
    e = build_e(settings, explainer.autoencoder.latent_shape, sizes, codes[rows].sample(generator), seed)
    e.to(distributed.device())
    held_out = (explainer.held_out_codes, explainer.held_out.concepts)
    decisive: list[Any] = [[*sizes.items()], settings.rho, settings.to_dict()["e"]]  # the order of factors counts
    decisive += explainer.labels
    for kind, task, how in (
        ("anchors", AnchorTask(e, codes, concepts, held_out), settings.fit_anchors),
        ("e", SemanticTask(e, codes, concepts, held_out), settings.fit_e),
    ):
        decisive.append(asdict(how))
        result = fit(task, how, path=explainer.path(kind, *decisive), seed=seed, strict=strict)
        explainer.complete = explainer.complete and result.complete
    return e.cpu()

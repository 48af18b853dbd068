"""How e is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from invkit.data import Pairing
from invkit.explainer.checks import with_residual
from invkit.explainer.ground import SOME, Groundwork
from invkit.flows import SemanticFlow, estimate_factor_sizes
from invkit.settings import Settings
from invkit.training import AnchorTask, SemanticTask
from invkit.utils import distributed
from invkit.utils.random import generator_for, seeded

__all__ = ["build_e", "with_e"]


def build_e(
    settings: Settings, code: tuple[int, ...], sizes: Mapping[str, int], latents: Tensor, seed: int = 0
) -> SemanticFlow:
    """Build e for codes of a shape, initialised from some of them, (B, N)."""
    with seeded(seed, "build", "e"):
        e = SemanticFlow(settings.e.blocks(code, seed=seed), sizes, settings.rho)
    e.initialize(latents)
    return e


def with_e(ground: Groundwork, factor_sizes: Mapping[str, int] | None) -> Groundwork:
    """Return a groundwork with e, trained for the concepts of its images."""
    settings, codes, concepts = ground.settings, ground.codes, ground.train.concepts
    generator = generator_for(ground.seed, "partners")
    dim, shape = codes.mean.shape[1], ground.autoencoder.latent_shape
    rows = torch.randperm(len(codes), generator=generator)[:SOME]
    if not factor_sizes:
        partners = {name: codes.mean[Pairing(c).draw(rows, generator)] for name, c in concepts.items()}
        most = {name: c.dimensions for name, c in concepts.items()}
        factor_sizes = estimate_factor_sizes(codes.mean[rows], partners, most=most)
    sizes = with_residual(factor_sizes, dim)
    e = build_e(settings, shape, sizes, codes[rows].sample(generator), ground.seed)
    e.to(distributed.device())
    held_out = (ground.held_out_codes, ground.held_out.concepts)
    decisive: list[Any] = [[*sizes.items()], settings.rho, asdict(settings.e)]  # the order of factors counts
    decisive += ground.labels
    for kind, task, how in (
        ("anchors", AnchorTask(e, codes, concepts, held_out), settings.fit_anchors),
        ("e", SemanticTask(e, codes, concepts, held_out), settings.fit_e),
    ):
        decisive.append(asdict(how))
        path = ground.path(kind, *decisive)
        result = ground.fit(task, how, path)
        ground = replace(ground, complete=ground.complete and result.complete)
    return replace(ground, e=e.cpu())

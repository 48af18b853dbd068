"""How one t is trained on top."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from invkit.data import Rows
from invkit.explainer.ground import SOME, Groundwork
from invkit.flows import Embedder, InvarianceFlow
from invkit.settings import Settings
from invkit.training import AmortisedTask, InvarianceTask, held_out_nll
from invkit.utils import distributed
from invkit.utils.random import generator_for, seeded
from invkit.utils.resources import rows_in_memory

__all__ = ["build_t", "decisive_of_t", "prior_nll", "train_t", "train_together"]


def build_t(
    settings: Settings, code: tuple[int, ...], embedder: Embedder | None, latents: Tensor, z: Tensor, seed: int = 0
) -> InvarianceFlow:
    """Build t for codes of a shape, initialised from some of them, (B, N), and from their representations (B, …)."""
    with seeded(seed, "build", "t"):
        h = settings.t.build_embedder(tuple(z.shape[1:]), code) if embedder is None else copy.deepcopy(embedder)
        blocks = settings.t.blocks(code, h.condition_dim, seed=seed)
        t = InvarianceFlow(blocks, h, noise_floor=settings.noise_floor, recompute=settings.t.recompute)
    t.initialize(latents, z)
    return t


def decisive_of_t(settings: Settings, model_key: str) -> list[Any]:
    """Return what a t is named after, beside what all share."""
    return [model_key, asdict(settings.t), asdict(settings.fit_t), settings.noise_floor]


def train_t(
    ground: Groundwork, z: tuple[Rows, Rows], model_key: str, embedder: Embedder | None, title: str
) -> tuple[InvarianceFlow, bool]:
    """Train t on representations of the training images, judged by those of the held-out ones.

    Returns:
        t, and whether its training came to its own end.
    """
    settings = ground.settings
    task = _t_task(ground, z, embedder, title)
    path = ground.path("t", *decisive_of_t(settings, model_key))
    result = ground.fit(task, settings.fit_t, path)
    return task.module.cpu(), result.complete


def train_together(
    ground: Groundwork, z: Mapping[str, tuple[Rows, Rows]], model_key: str, embedder: Embedder | None, title: str
) -> tuple[dict[str, InvarianceFlow], bool]:
    """Train one t for several layers, each with an H of its own; for half as many steps as all of theirs would take.

    Args:
        ground: what they share.
        z: representations of training and of held-out images, by layer.
        model_key: hash of the model and of what decides z.
        embedder: H, of which each layer trains a copy.
        title: shown with the progress.

    Returns:
        t of each layer, and whether training came to its own end.
    """
    settings = ground.settings
    tasks = [_t_task(ground, each, embedder, layer) for layer, each in z.items()]
    how = replace(settings.fit_t, steps=max(1, settings.fit_t.steps * len(z) // 2))
    path = ground.path("t", model_key, [*z], asdict(settings.t), asdict(how), settings.noise_floor)
    result = ground.fit(AmortisedTask(tasks, title), how, path)
    return {layer: task.module.cpu() for layer, task in zip(z, tasks, strict=True)}, result.complete


def prior_nll(ground: Groundwork) -> tuple[float, bool]:
    """Return NLL(z̄) of held-out images, that of a flow like t whose condition says nothing; and if it is complete."""
    nothing = (torch.zeros(len(ground.train), 1), torch.zeros(len(ground.held_out), 1))
    flow, complete = train_t(ground, nothing, "prior", None, "z̄ alone")
    return float(held_out_nll(flow, ground.held_out_codes, nothing[1]).mean()), complete


def _t_task(ground: Groundwork, z: tuple[Rows, Rows], embedder: Embedder | None, title: str) -> InvarianceTask:
    """Build t, initialised from some images, and its task."""
    settings, seed = ground.settings, ground.seed
    rows = torch.randperm(len(z[0]), generator=generator_for(seed, "initialise"))
    rows = rows[: rows_in_memory(SOME, z[0].shape[1:])]
    latents = ground.codes[rows].sample(generator_for(seed, "t"))
    t = build_t(settings, ground.autoencoder.latent_shape, embedder, latents, z[0][rows], seed).to(distributed.device())
    return InvarianceTask(t, ground.codes, z[0], (ground.held_out_codes, z[1]), title)

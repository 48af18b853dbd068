"""Training of the conditional flow t (paper, sec. 3.1), and of the same flow without a condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from invkit.core import Interpretee
from invkit.data import Codes, Rows
from invkit.flows import InvarianceFlow
from invkit.settings import Settings
from invkit.training import AmortisedTask, InvarianceTask, fit, held_out_nll
from invkit.utils import distributed
from invkit.utils.io import content_hash
from invkit.utils.random import generator_for, seeded
from invkit.utils.resources import rows_in_memory

if TYPE_CHECKING:
    from invkit.explainer.explainer import Explainer

__all__ = ["SOME", "build_t", "model_key", "prior_nll", "train_t", "train_together"]

SOME = 4096  # images from which flows are initialised


def build_t(settings: Settings, code: tuple[int, ...], latents: Tensor, z: Tensor, seed: int = 0) -> InvarianceFlow:
    """Build t for codes of a shape, initialised from some codes (B, N) and their representations (B, …)."""
    with seeded(seed, "build", "t"):
        h = settings.t.build_embedder(tuple(z.shape[1:]), code)
        blocks = settings.t.blocks(code, h.condition_dim, seed=seed)
        t = InvarianceFlow(blocks, h, noise_floor=settings.noise_floor, recompute=settings.t.recompute)
    t.initialize(latents, z)
    return t


def model_key(explainer: Explainer, interpretee: Interpretee, layers: Sequence[str]) -> dict[str, str]:
    """Return the hash, by layer, of the model and of an embedder of the user's own, to name files by."""
    weights, settings = interpretee.fingerprint(), explainer.settings
    if isinstance(settings.t.embedder, str):
        return dict.fromkeys(layers, content_hash(weights))
    found = {}
    for layer, z in interpretee.represent(explainer.held_out.images(slice(2)), layers).items():
        with seeded(explainer.seed, "build", "t"):
            h = settings.t.build_embedder(tuple(z.shape[1:]), explainer.autoencoder.latent_shape)
        found[layer] = content_hash(weights, repr(h), h.config, h.state_dict())
    return found


def train_t(
    explainer: Explainer,
    z: tuple[Rows, Rows],
    key: str,
    title: str,
    *,
    codes: Codes | None = None,
    strict: bool = False,
) -> tuple[InvarianceFlow, bool]:
    """Train t on representations of the training images, with early stopping on those of the held-out images.

    Args:
        explainer: what all layers share.
        z: representations of training and of held-out images.
        key: hash of the model, the layer and all else that decides z.
        title: shown with the progress.
        codes: of the training images; None for the explainer's.
        strict: as in :meth:`Explainer.fit`.

    Returns:
        t, and whether its training ended by itself.
    """
    settings = explainer.settings
    task = _t_task(explainer, z, title, codes)
    path = explainer.path("t", key, _plain(settings), asdict(settings.fit_t), settings.noise_floor)
    result = fit(task, settings.fit_t, path=path, seed=explainer.seed, strict=strict)
    return task.module.cpu(), result.complete


def train_together(
    explainer: Explainer,
    z: Mapping[str, tuple[Rows, Rows]],
    key: Mapping[str, str],
    title: str,
    strict: bool = False,
) -> dict[str, tuple[InvarianceFlow, bool]]:
    """Train one t for several layers, each with its own H, for half as many steps as all of theirs would take.

    Arguments as in :func:`train_t`, with z and hashes by layer.

    Returns:
        t of each layer, and whether training ended by itself. Nothing for a single layer.
    """
    if len(z) < 2:
        return {}
    settings = explainer.settings
    tasks = [_t_task(explainer, each, layer, None) for layer, each in z.items()]
    how = replace(settings.fit_t, steps=max(1, settings.fit_t.steps * len(z) // 2))
    path = explainer.path("t", *key.values(), [*z], _plain(settings), asdict(how), settings.noise_floor)
    complete = fit(AmortisedTask(tasks, title), how, path=path, seed=explainer.seed, strict=strict).complete
    return {layer: (task.module.cpu(), complete) for layer, task in zip(z, tasks, strict=True)}


def prior_nll(explainer: Explainer, strict: bool = False) -> tuple[InvarianceFlow, float]:
    """Return a flow like t with a constant condition, and its held-out −log p(z̄) in nats per dimension.

    Args:
        explainer: autoencoder and codes.
        strict: as in :meth:`Explainer.fit`.
    """
    nothing = (torch.zeros(len(explainer.train_copies), 1), torch.zeros(len(explainer.held_out), 1))
    flow, complete = train_t(explainer, nothing, "prior", "z̄ alone", strict=strict)
    explainer.complete = explainer.complete and complete
    return flow, float(held_out_nll(flow, explainer.held_out_codes, nothing[1]).mean())


def _plain(settings: Settings) -> Any:
    return settings.to_dict()["t"]


def _t_task(explainer: Explainer, z: tuple[Rows, Rows], title: str, codes: Codes | None) -> InvarianceTask:
    """Build t, initialised from some images, and its task."""
    settings, seed, codes = explainer.settings, explainer.seed, codes or explainer.codes
    rows = torch.randperm(len(z[0]), generator=generator_for(seed, "initialise"))
    rows = rows[: rows_in_memory(SOME, z[0].shape[1:])]
    latents = codes[rows].sample(generator_for(seed, "t"))
    t = build_t(settings, explainer.autoencoder.latent_shape, latents, z[0][rows], seed).to(distributed.device())
    return InvarianceTask(t, codes, z[0], (explainer.held_out_codes, z[1]), title)

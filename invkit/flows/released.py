"""Flows from the weights that the paper's authors released: their cINN is t, that of the sister paper is e.

The authors' coupling transforms the second half given the first, then the first given the second, and leaves the halves
swapped. With the halves swapped before it, PaperCoupling is the same map.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invkit.core import Embedder, FlowBlock
from invkit.errors import ArtefactError
from invkit.flows.actnorm import ActNorm
from invkit.flows.coupling import PaperCoupling
from invkit.flows.invariance import InvarianceFlow
from invkit.flows.paper import PaperMapEmbedder, PaperVectorEmbedder
from invkit.flows.scaling import LIMIT, soft_bound_inverse
from invkit.flows.semantic import SemanticFlow
from invkit.flows.shuffle import Permutation
from invkit.interpretees import read_weights

__all__ = ["read_released_cinn", "read_released_semantic"]


def read_released_cinn(
    weights: str | Path, shape: tuple[int, ...] | None = None, *, local_files_only: bool = False
) -> InvarianceFlow:
    """Return t from a state dict of CompVis/invariances: ``flow.sub_layers.*`` and ``embedder.*``.

    Args:
        weights: a file, a folder or ``hf-hub:owner/name``.
        shape: (C, H, W) of a representation that is a map; the length of a vector is read from the weights.
        local_files_only: never download.

    Returns:
        t in evaluation mode. It takes z as the layer returns it: mean 0, scale 1, no noise floor.

    Raises:
        ArtefactError: no such weights, another layout, or a map without `shape`.

    Example:
        >>> from invkit.flows import read_released_cinn
        >>> read_released_cinn("cinn.ckpt")  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        ArtefactError: there is no such file here
    """
    state = _Reader(read_weights(weights, local_files_only=local_files_only), str(weights))
    names = [f"flow.sub_layers.{{}}.{part}" for part in ("norm_layer", "coupling", "shuffle")]
    blocks, condition_dim = _blocks(state, names)
    t = InvarianceFlow(blocks, _embedder(state, shape, condition_dim))
    state.expect_all_read()
    return t.eval()


def read_released_semantic(
    weights: str | Path, factors: Mapping[str, int], rho: float = 0.975, *, local_files_only: bool = False
) -> SemanticFlow:
    """Return e from a state dict of CompVis/iin: ``realnvp.flow.N.flow.{0,1,2}``.

    Args:
        weights: a file, a folder or ``hf-hub:owner/name``.
        factors: size of each factor in the order of the dimensions, ``residual`` (the last one there) included; the
            files don't contain it.
        rho: correlation ρ of its training.
        local_files_only: never download.

    Raises:
        ArtefactError: no such weights, or another layout.
        SettingsError: sizes that don't sum to the code's dimension.

    Example:
        >>> from invkit.flows import read_released_semantic
        >>> read_released_semantic("e.ckpt", {"residual": 20, "class": 108})  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        ArtefactError: there is no such file here
    """
    state = _Reader(read_weights(weights, local_files_only=local_files_only), str(weights))
    blocks, _ = _blocks(state, [f"realnvp.flow.{{}}.flow.{part}" for part in range(3)])
    state.expect_all_read()
    return SemanticFlow(blocks, factors, rho).eval()


class _Reader:
    """Tensors by name, with a record of those that were read."""

    def __init__(self, state: Mapping[str, Tensor], source: str) -> None:
        self.state, self.source, self.read = state, source, set[str]()

    def __contains__(self, name: str) -> bool:
        return name in self.state

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.state:
            raise self.error(name, f"{', '.join(list(self.state)[:3])} …")
        self.read.add(name)
        return self.state[name]

    def count(self, pattern: str) -> int:
        """Count the different numbers in place of {} among the names."""
        found = re.compile(re.escape(pattern).replace(r"\{\}", r"(\d+)"))
        return len({match[1] for name in self.state if (match := found.match(name))})

    def expect_all_read(self) -> None:
        left = self.state.keys() - self.read
        if left:
            raise self.error("no more tensors", ", ".join(sorted(left)[:5]))

    def error(self, expected: str, got: str) -> ArtefactError:
        return ArtefactError(
            f"The weights in {self.source} do not have the layout of the authors' release", expected=expected, got=got
        )


def _blocks(state: _Reader, names: list[str]) -> tuple[list[FlowBlock], int]:
    """Return all blocks, by the names of actnorm, coupling and shuffle, and the width of the condition."""
    blocks: list[FlowBlock] = []
    condition_dim = 0
    for k in range(max(1, state.count(f"{names[0]}.loc"))):
        norm, coupling, shuffle = (name.format(k) for name in names)
        dim = state[f"{norm}.loc"].numel()
        first = state[f"{coupling}.s.0.main.0.weight"]
        condition_dim = first.shape[1] - dim // 2
        depth = state.count(f"{coupling}.s.0.main.{{}}.weight") - 2
        ours = PaperCoupling(dim, condition_dim, len(first), depth)
        drive: Any
        for step, drive in enumerate((ours.drive1, ours.drive2)):
            _fill(drive.scale.main, state, f"{coupling}.s.{step}.main")
            _fill(drive.shift.main, state, f"{coupling}.t.{step}.main")
        permutation = state[f"{shuffle}.forward_shuffle_idx"].long()
        state.read.add(f"{shuffle}.backward_shuffle_idx")  # its inverse
        blocks += [_actnorm(state, norm), _swap(dim), ours, Permutation(permutation, {"dim": dim})]
    return blocks, condition_dim


def _swap(dim: int) -> Permutation:
    return Permutation(torch.arange(dim).roll(dim // 2), {"dim": dim})


@torch.no_grad()
def _actnorm(state: _Reader, name: str) -> ActNorm:
    """Return the authors' scale · (x + loc) as an ActNorm."""
    loc, scale = state[f"{name}.loc"].flatten(), state[f"{name}.scale"].flatten()
    state.read.add(f"{name}.initialized")
    if not (scale > 0).all() or float(scale.log().abs().max()) > LIMIT:
        raise state.error(
            f"scales from {math.exp(-LIMIT):.1g} to {math.exp(LIMIT):.1g} in {name}",
            f"{float(scale.min()):.3g} to {float(scale.max()):.3g}",
        )
    norm = ActNorm(len(loc))
    norm.loc.copy_(-loc)
    norm.raw_log_scale.copy_(soft_bound_inverse(scale.log()))
    return norm


@torch.no_grad()
def _fill(layers: Any, state: _Reader, name: str) -> None:
    """Fill the layers of a perceptron; the authors' may be 1×1 convolutions."""
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.Linear):
            layer.weight.copy_(state[f"{name}.{index}.weight"].reshape_as(layer.weight))
            layer.bias.copy_(state[f"{name}.{index}.bias"])


@torch.no_grad()
def _embedder(state: _Reader, shape: tuple[int, ...] | None, condition_dim: int) -> Embedder:
    if "embedder.net.0.weight" in state:
        depth = state.count("embedder.net.{}.bias") + 1
        vector = PaperVectorEmbedder((state["embedder.net.0.weight"].shape[1],), condition_dim, depth)
        _fill(vector.net, state, "embedder.net")
        for index in range(1, len(vector.net), 3):
            vector.net[index].norm = _actnorm(state, f"embedder.net.{index}")
        return vector
    if shape is None or len(shape) != 3:
        raise ArtefactError(
            "This t is of a layer whose representations are maps",
            expected="its shape (C, H, W) as `shape`",
            got=str(shape),
        )
    n_down = state.count("embedder.feature_layers.{}.sub_layers.0.weight")
    maps = PaperMapEmbedder(shape, condition_dim, n_down)
    for k in range(n_down):
        name = f"embedder.feature_layers.{k}.sub_layers"
        _copy(maps.net[3 * k].weight, state[f"{name}.0.weight"], state)
        maps.net[3 * k + 1].norm = _actnorm(state, f"{name}.1")
    last = "embedder.dense_encode.sub_layers.0"
    _copy(maps.net[-1].weight, state[f"{last}.weight"], state)
    _copy(maps.net[-1].bias, state[f"{last}.bias"], state)
    return maps


def _copy(ours: Any, theirs: Tensor, state: _Reader) -> None:
    if ours.shape != theirs.shape:
        raise state.error(f"a tensor of shape {tuple(ours.shape)} for this `shape`", str(tuple(theirs.shape)))
    ours.copy_(theirs)

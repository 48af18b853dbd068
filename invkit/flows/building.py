"""Flow blocks and embedders by name, built in or of a plugin."""

from __future__ import annotations

import math
from collections.abc import Sequence

from invkit.core import Embedder, FlowBlock
from invkit.plugins import load_named

__all__ = ["build_embedder", "build_flow_block"]


def build_flow_block(
    name: str,
    shape: int | Sequence[int],
    condition_dim: int = 0,
    *,
    width: int = 384,
    depth: int = 1,
    seed: int = 0,
    index: int = 0,
) -> FlowBlock:
    """Build a new flow block. A block ignores the arguments that it does not need.

    Args:
        name: ``affine``, ``spline``, … or ``prefix:name`` of a plugin; ``invkit plugins list`` shows the plugins.
        shape: D, (D,) or (C, H, W) of a code; the block takes and returns codes flat, (B, D) or (B, C·H·W).
        condition_dim: width of the condition, 0 for none.
        width: width of its subnetworks.
        depth: their depth.
        seed: seed of fixed random parts such as permutations.
        index: position in a flow, for blocks that alternate.

    Raises:
        PluginError: no plugin offers the name, or building failed.
        SettingsError: the block is not for codes of this shape.

    Example:
        >>> import torch
        >>> from invkit.flows import build_flow_block
        >>> block = build_flow_block("spline", 8, condition_dim=3, width=16)
        >>> block(torch.rand(5, 8), torch.rand(5, 3)).value.shape
        torch.Size([5, 8])
    """
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    built: FlowBlock = load_named(
        "flow_block",
        name,
        FlowBlock,
        shape=sizes,
        dim=math.prod(sizes),
        condition_dim=condition_dim,
        width=width,
        depth=depth,
        seed=seed,
        index=index,
    )
    return built


def build_embedder(name: str, shape: Sequence[int], dim: int) -> Embedder:
    """Build a new embedder H.

    Args:
        name: ``lean``, ``paper`` or ``prefix:name`` of a plugin.
        shape: shape of a representation z without its batch axis.
        dim: C, width of the condition.

    Raises:
        PluginError: no plugin offers the name, or building failed.
        LayerError: the embedder is not for representations of this shape.

    Example:
        >>> import torch
        >>> from invkit.flows import build_embedder
        >>> build_embedder("lean", (16, 7, 7), 32)(torch.rand(5, 16, 7, 7)).shape
        torch.Size([5, 32])
    """
    built: Embedder = load_named("embedder", name, Embedder, shape=tuple(shape), dim=dim)
    return built

"""A flow over codes that are maps: blocks at one scale, then at half of it for half of the channels, and so on."""

from __future__ import annotations

from invkit.core import FlowBlock
from invkit.errors import SettingsError
from invkit.flows.actnorm import ActNorm
from invkit.flows.building import build_flow_block
from invkit.flows.linear import LULinear
from invkit.flows.positionwise import Positionwise
from invkit.flows.squeeze import Part, Squeeze

__all__ = ["map_blocks"]

_SMALLEST = 4  # maps of smaller sides are not squeezed


def map_blocks(
    shape: tuple[int, int, int],
    condition_dim: int = 0,
    *,
    coupling: str = "affine",
    n_flow: int = 8,
    width: int = 64,
    depth: int = 1,
    seed: int = 0,
) -> list[FlowBlock]:
    """Build a flow over codes (B, C·H·W) that are maps.

    With a coupling of halves (`affine`): n_flow × [actnorm, invertible 1×1 convolution, coupling] at each scale. After
    each scale the map is squeezed and half of the channels are left as they are (Real NVP, Glow). With an
    autoregressive block (`tarflow`): n_flow × [actnorm, block] at one scale.

    Args:
        shape: (C, H, W).
        condition_dim: width of the condition, 0 for none.
        coupling: name of a flow block over maps.
        n_flow: number of blocks (at each scale).
        width: width of the subnetworks or transformers.
        depth: their depth.
        seed: seed of the 1×1 convolutions.

    Raises:
        SettingsError: the coupling is not for codes that are maps.
        PluginError: no plugin offers the coupling.
    """
    channels, height, side = shape
    blocks: list[FlowBlock] = []
    for k in range(n_flow):
        drawn = 1000 * seed + k
        block = build_flow_block(coupling, shape, condition_dim, width=width, depth=depth, seed=drawn, index=k)
        if tuple(block.config.get("shape", ())) != shape:
            raise SettingsError(
                f"The coupling '{coupling}' is not for codes that are maps",
                expected="affine, tarflow, or a plugin's flow block with `shape` in its config",
                got=f"a {type(block).__name__} for codes of shape {shape}",
            )
        blocks.append(Positionwise(ActNorm(channels), shape))
        if not block.autoregressive:
            blocks.append(Positionwise(LULinear(channels, drawn), shape))
        blocks.append(block)
    squeezable = height % 2 == side % 2 == 0 and min(height, side) >= 2 * _SMALLEST
    if not squeezable or any(block.autoregressive for block in blocks):
        return blocks
    smaller = (2 * channels, height // 2, side // 2)
    rest = map_blocks(smaller, condition_dim, coupling=coupling, n_flow=n_flow, width=width, depth=depth, seed=seed + 1)
    return [*blocks, Squeeze(shape), *(Part(block, channels * height * side) for block in rest)]

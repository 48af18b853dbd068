"""A flow over codes that are maps: steps at one scale, then at half of it for half of the channels, and so on."""

from __future__ import annotations

from invkit.core import FlowBlock
from invkit.errors import SettingsError
from invkit.flows.actnorm import ActNorm
from invkit.flows.conv_coupling import ConvCoupling
from invkit.flows.linear import LULinear
from invkit.flows.positionwise import Positionwise
from invkit.flows.squeeze import Part, Squeeze
from invkit.flows.tarflow import TarFlow

__all__ = ["map_blocks"]

_SMALLEST = 4  # no map is squeezed to less than this


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

    With `affine` coupling n_flow × [actnorm, invertible 1×1 convolution, convolutional coupling of a checkerboard and
    of channels in turn], at each of the scales; after each the map is squeezed and half of the channels are left as
    they are (Real NVP, Glow). With `tarflow` n_flow × [actnorm, transformer], in alternating directions, at one scale.

    Args:
        shape: (C, H, W).
        condition_dim: width of the condition, 0 for none.
        coupling: `affine` or `tarflow`.
        n_flow: number of blocks (at each scale).
        width: of the subnetworks or transformers.
        depth: of these.
        seed: of the 1×1 convolutions.

    Raises:
        SettingsError: another coupling.
    """
    channels, height, side = shape
    if coupling == "tarflow":
        blocks: list[FlowBlock] = []
        for k in range(n_flow):
            driven = TarFlow(shape, condition_dim, width, depth, reverse=k % 2 == 1)
            blocks += [Positionwise(ActNorm(channels), shape), driven]
        return blocks
    if coupling != "affine":
        raise SettingsError("This coupling is not for codes that are maps", expected="affine or tarflow", got=coupling)
    blocks = []
    for k in range(n_flow):
        checkerboard = channels < 2 or (k % 2 == 0 and height * side > 1)
        blocks += [
            Positionwise(ActNorm(channels), shape),
            Positionwise(LULinear(channels, seed=1000 * seed + k), shape),
            ConvCoupling(shape, condition_dim, width, depth, "checkerboard" if checkerboard else "channels"),
        ]
    if height % 2 or side % 2 or min(height, side) < 2 * _SMALLEST:
        return blocks
    smaller = (2 * channels, height // 2, side // 2)
    rest = map_blocks(smaller, condition_dim, n_flow=n_flow, width=width, depth=depth, seed=seed + 1)
    return [*blocks, Squeeze(shape), *(Part(block, channels * height * side) for block in rest)]

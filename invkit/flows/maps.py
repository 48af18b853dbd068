"""A flow over codes that are maps: steps at one scale, then at half of it for half of the channels, and so on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from invkit.core import FlowBlock
from invkit.errors import SettingsError
from invkit.flows.actnorm import ActNorm
from invkit.flows.conv_coupling import ConvCoupling
from invkit.flows.linear import LULinear
from invkit.flows.positionwise import Positionwise
from invkit.flows.squeeze import Part, Squeeze
from invkit.flows.tarflow import TarFlow

if TYPE_CHECKING:
    from invkit.flows.presets import FlowSettings

__all__ = ["map_blocks"]

_SMALLEST = 4  # no map is squeezed to less than this


def map_blocks(settings: FlowSettings, shape: tuple[int, int, int], condition_dim: int, seed: int) -> list[FlowBlock]:
    """Build a flow over codes (B, C·H·W) that are maps.

    With `affine` coupling n_flow × [actnorm, invertible 1×1 convolution, convolutional coupling of a checkerboard and
    of channels in turn], at each of the scales; after each the map is squeezed and half of the channels are left as
    they are (Real NVP, Glow). With `tarflow` n_flow × [actnorm, transformer], in alternating directions, at one scale.

    Raises:
        SettingsError: another coupling.
    """
    if settings.coupling == "tarflow":
        blocks: list[FlowBlock] = []
        for k in range(settings.n_flow):
            driven = TarFlow(shape, condition_dim, settings.map_width, settings.depth, reverse=k % 2 == 1)
            blocks += [Positionwise(ActNorm(shape[0]), shape), driven]
        return blocks
    if settings.coupling != "affine":
        raise SettingsError(
            "This coupling is not for codes that are maps", expected="affine or tarflow", got=settings.coupling
        )
    return _scale(settings, shape, condition_dim, 1000 * seed)


def _scale(settings: FlowSettings, shape: tuple[int, int, int], condition_dim: int, seed: int) -> list[FlowBlock]:
    """Steps at one scale, and all smaller ones on half of the channels."""
    channels, height, side = shape
    blocks: list[FlowBlock] = []
    for k in range(settings.n_flow):
        checkerboard = channels < 2 or (k % 2 == 0 and height * side > 1)
        split: Literal["checkerboard", "channels"] = "checkerboard" if checkerboard else "channels"
        blocks += [
            Positionwise(ActNorm(channels), shape),
            Positionwise(LULinear(channels, seed=seed + k), shape),
            ConvCoupling(shape, condition_dim, settings.map_width, settings.depth, split),
        ]
    if height % 2 or side % 2 or min(height, side) < 2 * _SMALLEST:
        return blocks
    smaller = (2 * channels, height // 2, side // 2)
    rest = _scale(settings, smaller, condition_dim, seed + settings.n_flow)
    dim = channels * height * side
    return [*blocks, Squeeze(shape), *(Part(block, dim) for block in rest)]

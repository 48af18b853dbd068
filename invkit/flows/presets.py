"""Which blocks, how many, how wide: the lean default and the paper's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from invkit.core import Embedder, FlowBlock
from invkit.errors import SettingsError
from invkit.flows.actnorm import ActNorm
from invkit.flows.building import build_embedder, build_flow_block
from invkit.flows.maps import map_blocks

__all__ = ["FlowSettings"]

_MAP_CONDITION = 128


@dataclass(frozen=True)
class FlowSettings:
    """The architecture of a flow.

    Couplings, mixings and embedders are names that plugins offer, built-in ones included: ``name``, or ``prefix:name``
    (:mod:`invkit.plugins.hookspecs`).

    Attributes:
        n_flow: number of blocks.
        width: width h_w of the subnetworks.
        depth: depth h_d of the subnetworks.
        coupling: a flow block given the condition: `affine` (one network for s and t), `paper` (two), `spline`. For
            codes that are maps: `affine`, by convolutions, or `tarflow`, a transformer: likelier codes, and thirty
            times slower samples (`benchmarks/map_flows.py`).
        mixing: a flow block without a condition: `shuffle` (fixed permutation), `linear` (learned, LU). Codes that are
            maps always have invertible 1×1 convolutions.
        map_width: width of the subnetworks for codes that are maps.
        condition_dim: width C of the condition h; 0 for the code's dimension N, as in the paper (128 for codes that are
            maps).
        embedder: H, by name, `lean` or `paper`; or a function of the shape of z without its batch axis and C that
            returns a new :class:`~invkit.core.Embedder`.
        recompute: trade time for memory in training (:class:`~invkit.flows.FlowSequence`).

    Example:
        >>> from invkit.flows import FlowSettings
        >>> settings = FlowSettings(n_flow=2, width=64, mixing="linear")
        >>> [type(block).__name__ for block in settings.blocks(16)]
        ['ActNorm', 'AffineCoupling', 'LULinear', 'ActNorm', 'AffineCoupling', 'LULinear']
    """

    n_flow: int = 8
    width: int = 384
    depth: int = 1
    coupling: str = "affine"
    mixing: str = "shuffle"
    map_width: int = 64
    condition_dim: int = 0
    embedder: str | Callable[[tuple[int, ...], int], Embedder] = "lean"
    recompute: bool = False

    @classmethod
    def paper(cls, n_flow: int = 20, width: int = 1024, depth: int = 2) -> FlowSettings:
        """Return table S10: 20 blocks of width 1024 and depth 2 for t; e has (12, 512, 2).

        Example:
            >>> from invkit.flows import FlowSettings
            >>> FlowSettings.paper().coupling
            'paper'
        """
        return cls(n_flow, width, depth, coupling="paper", mixing="shuffle", embedder="paper")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-able values; an embedder that is a function as ``module:qualname``.

        Example:
            >>> from invkit.flows import FlowSettings, VectorEmbedder
            >>> FlowSettings(embedder=VectorEmbedder).to_dict()["embedder"]
            'invkit.flows.embedders:VectorEmbedder'
        """
        name = self.embedder if isinstance(self.embedder, str) else _describe(self.embedder)
        return {**vars(self), "embedder": name}

    def blocks(self, shape: int | Sequence[int], condition_dim: int = 0, seed: int = 0) -> list[FlowBlock]:
        """Build n_flow × [actnorm, coupling, mixing] over vectors, or a flow over maps of 1×1 convolutions and scales.

        Args:
            shape: D, (D,) or (C, H, W) of a code; blocks take and return codes flat.
            condition_dim: width of the condition, 0 for none.
            seed: seed of permutations and rotations.

        Raises:
            SettingsError: D below 2, or a coupling that is not for codes of this shape.
            PluginError: no plugin offers the coupling or mixing.
        """
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        dim = math.prod(sizes)
        if dim < 2:
            raise SettingsError("Too few dimensions to couple", expected="a code of 2 or more", got=dim)
        if len(sizes) == 3:
            return map_blocks(
                (sizes[0], sizes[1], sizes[2]),
                condition_dim,
                coupling=self.coupling,
                n_flow=self.n_flow,
                width=self.map_width,
                depth=self.depth,
                seed=seed,
            )
        options = {"width": self.width, "depth": self.depth}
        blocks: list[FlowBlock] = []
        for k in range(self.n_flow):
            drawn = {"seed": 1000 * seed + k, "index": k}
            blocks += [
                ActNorm(dim),
                build_flow_block(self.coupling, dim, condition_dim, **options, **drawn),
                build_flow_block(self.mixing, dim, **options, **drawn),
            ]
        return blocks

    def build_embedder(self, shape: Sequence[int], code: int | Sequence[int]) -> Embedder:
        """Build H.

        Args:
            shape: shape of a representation z without its batch axis.
            code: N, (N,) or (C, H, W) of a code z̄, which decides the width of the condition (`condition_dim`).

        Raises:
            SettingsError: `embedder` is a function that returns something else.
            LayerError: the embedder is not for representations of this shape.
            PluginError: no plugin offers the embedder.
        """
        shape, sizes = tuple(shape), (code,) if isinstance(code, int) else tuple(code)
        width = self.condition_dim or (sizes[0] if len(sizes) == 1 else _MAP_CONDITION)
        if isinstance(self.embedder, str):
            return build_embedder(self.embedder, shape, width)
        built = self.embedder(shape, width)
        if not isinstance(built, Embedder) or (tuple(built.config["shape"]), built.condition_dim) != (shape, width):
            raise SettingsError(
                f"The embedder {_describe(self.embedder)} does not fit a layer of shape {shape}",
                expected=f"an invkit.core.Embedder with config['shape'] {shape} and condition_dim {width}",
                got=f"{type(built).__name__} {getattr(built, 'config', '')}".strip(),
            )
        return built


def _describe(factory: Callable[..., Any]) -> str:
    """Return the importable name of a function or class, with the arguments that `functools.partial` fixed."""
    if isinstance(factory, partial):
        given = [repr(value) for value in factory.args] + [f"{k}={v!r}" for k, v in sorted(factory.keywords.items())]
        return f"{_describe(factory.func)}({', '.join(given)})"
    named = factory if hasattr(factory, "__qualname__") else type(factory)
    return f"{named.__module__}:{named.__qualname__}"

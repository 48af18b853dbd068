"""Which blocks, how many, how wide: the lean default and the paper's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from invkit.core import FlowBlock
from invkit.errors import SettingsError
from invkit.flows.actnorm import ActNorm
from invkit.flows.coupling import AffineCoupling, PaperCoupling
from invkit.flows.embedders import Embedder, embedder_for
from invkit.flows.linear import LULinear
from invkit.flows.maps import map_blocks
from invkit.flows.paper import paper_embedder_for
from invkit.flows.shuffle import Shuffle
from invkit.flows.spline import SplineCoupling
from invkit.plugins import load_named

__all__ = ["COUPLINGS", "MIXINGS", "FlowSettings"]

COUPLINGS: dict[str, Callable[..., FlowBlock]] = {
    "affine": AffineCoupling,
    "paper": PaperCoupling,
    "spline": SplineCoupling,
}
MIXINGS: dict[str, Callable[..., FlowBlock]] = {"linear": LULinear, "shuffle": Shuffle}

_MAP_CONDITION = 128


@dataclass(frozen=True)
class FlowSettings:
    """The architecture of a flow.

    Attributes:
        n_flow: number of blocks.
        width: width h_w of the subnetworks.
        depth: depth h_d of the subnetworks.
        coupling: `affine` (one network for s and t), `paper` (two), `spline`, or a plugin's flow block, by name.
            Of codes that are maps: `affine`, by convolutions, or `tarflow`, a transformer: likelier codes, and thirty
            times slower samples (`benchmarks/map_flows.py`).
        mixing: `shuffle` (fixed permutation), `linear` (learned, LU), or a plugin's flow block without a condition.
        map_width: channels of the subnetworks where codes are maps.
        condition_dim: width of the condition h; 0 for the code's dimension N, as in the paper (128 at most where codes
            are maps).
        embedder: `lean` or `paper`.
        recompute: trade time for memory in training (:class:`~invkit.flows.FlowSequence`).
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
        """Return table S10: 20 blocks of width 1024 and depth 2 for t; e has (12, 512, 2)."""
        return cls(n_flow, width, depth, coupling="paper", mixing="shuffle", embedder="paper")

    def blocks(self, shape: int | Sequence[int], condition_dim: int = 0, seed: int = 0) -> list[FlowBlock]:
        """Build n_flow × [actnorm, coupling, mixing] over vectors, or a flow over maps: :func:`map_blocks`.

        Args:
            shape: D, (D,) or (C, H, W) of a code; blocks take and give it flat.
            condition_dim: width of the condition, 0 for none.
            seed: of permutations.

        Raises:
            SettingsError: dim below 2.
            PluginError: a coupling or mixing that is neither built in nor a plugin's.
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
        return [
            block
            for k in range(self.n_flow)
            for block in (
                ActNorm(dim),
                self._coupling(dim, condition_dim),
                self._mixing(dim, 1000 * seed + k),
            )
        ]

    def _coupling(self, dim: int, condition_dim: int) -> FlowBlock:
        if self.coupling in COUPLINGS:
            return COUPLINGS[self.coupling](dim, condition_dim, self.width, self.depth)
        found: FlowBlock = load_named("flow_block", self.coupling, FlowBlock, dim=dim, condition_dim=condition_dim)
        return found

    def _mixing(self, dim: int, seed: int) -> FlowBlock:
        if self.mixing in MIXINGS:
            return MIXINGS[self.mixing](dim, seed=seed)
        found: FlowBlock = load_named("flow_block", self.mixing, FlowBlock, dim=dim, condition_dim=0)
        return found

    def build_embedder(self, shape: tuple[int, ...], code: int | Sequence[int]) -> Embedder:
        """Build H for representations of one shape and codes of another, N, (N,) or (C, H, W)."""
        sizes = (code,) if isinstance(code, int) else tuple(code)
        width = self.condition_dim or (sizes[0] if len(sizes) == 1 else _MAP_CONDITION)
        if callable(self.embedder):
            return self.embedder(tuple(shape), width)
        if self.embedder not in ("lean", "paper"):
            raise SettingsError("No such embedder", expected="lean, paper or a factory", got=self.embedder)
        return (paper_embedder_for if self.embedder == "paper" else embedder_for)(shape, width)

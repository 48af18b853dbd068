"""Invertible blocks, and the two flows that are made of them."""

from invkit.flows.actnorm import ActNorm
from invkit.flows.adapters import FreiaBlock, NormflowsBlock, ZukoBlock
from invkit.flows.coupling import AffineCoupling, PaperCoupling
from invkit.flows.embedders import Embedder, MapEmbedder, TokenEmbedder, VectorEmbedder, embedder_for
from invkit.flows.invariance import InvarianceFlow
from invkit.flows.linear import LULinear
from invkit.flows.paper import PaperMapEmbedder, PaperVectorEmbedder
from invkit.flows.presets import FlowSettings
from invkit.flows.semantic import SemanticFlow, estimate_factor_sizes, pair_nll
from invkit.flows.sequence import FlowSequence
from invkit.flows.shuffle import Shuffle
from invkit.flows.spline import SplineCoupling

__all__ = [
    "ActNorm",
    "AffineCoupling",
    "Embedder",
    "FlowSequence",
    "FlowSettings",
    "FreiaBlock",
    "InvarianceFlow",
    "LULinear",
    "MapEmbedder",
    "NormflowsBlock",
    "PaperCoupling",
    "PaperMapEmbedder",
    "PaperVectorEmbedder",
    "SemanticFlow",
    "Shuffle",
    "SplineCoupling",
    "TokenEmbedder",
    "VectorEmbedder",
    "ZukoBlock",
    "embedder_for",
    "estimate_factor_sizes",
    "pair_nll",
]

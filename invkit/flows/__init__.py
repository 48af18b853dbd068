"""Invertible blocks, embedders, and the two flows t and e that are built of them."""

from invkit.flows.actnorm import ActNorm
from invkit.flows.adapters import FreiaBlock, NormflowsBlock, ZukoBlock
from invkit.flows.building import build_embedder, build_flow_block
from invkit.flows.conv_coupling import ConvCoupling
from invkit.flows.coupling import AffineCoupling, PaperCoupling
from invkit.flows.embedders import MapEmbedder, TokenEmbedder, VectorEmbedder, embedder_for
from invkit.flows.invariance import InvarianceFlow
from invkit.flows.linear import LULinear
from invkit.flows.paper import PaperMapEmbedder, PaperVectorEmbedder
from invkit.flows.positionwise import Positionwise
from invkit.flows.presets import FlowSettings
from invkit.flows.released import read_released_cinn, read_released_semantic
from invkit.flows.semantic import SemanticFlow, estimate_factor_sizes, pair_nll
from invkit.flows.sequence import FlowSequence
from invkit.flows.shuffle import Shuffle
from invkit.flows.spline import SplineCoupling
from invkit.flows.squeeze import Part, Squeeze
from invkit.flows.tarflow import TarFlow

__all__ = [
    "ActNorm",
    "AffineCoupling",
    "ConvCoupling",
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
    "Part",
    "Positionwise",
    "SemanticFlow",
    "Shuffle",
    "SplineCoupling",
    "Squeeze",
    "TarFlow",
    "TokenEmbedder",
    "VectorEmbedder",
    "ZukoBlock",
    "build_embedder",
    "build_flow_block",
    "embedder_for",
    "estimate_factor_sizes",
    "pair_nll",
    "read_released_cinn",
    "read_released_semantic",
]

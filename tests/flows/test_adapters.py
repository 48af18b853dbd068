"""Modules of FrEIA, zuko and normflows keep invkit's contract behind their adapters."""

import FrEIA.framework
import FrEIA.modules
import normflows
import pytest
import torch
import zuko
from torch import nn

from invkit.flows import FreiaBlock, NormflowsBlock, ZukoBlock
from invkit.testing import check_flow_block

C = 3


def network(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, outputs))


def freia(cls, dims_c=(), **options):
    return lambda dim: FreiaBlock(cls([(dim,)], dims_c=[(c,) for c in dims_c], **options), dim, sum(dims_c))


def freia_sequence(dim):
    inn = FrEIA.framework.SequenceINN(dim)
    for _ in range(2):
        inn.append(FrEIA.modules.GLOWCouplingBlock, cond=0, cond_shape=(C,), subnet_constructor=network)
        inn.append(FrEIA.modules.PermuteRandom, seed=0)
    return FreiaBlock(inn, dim, C)


def zuko_coupling(dim):
    return ZukoBlock(zuko.flows.GeneralCouplingTransform(dim, C, mask=torch.arange(dim) % 2 == 0), dim, C)


BLOCKS = {
    "freia-glow": (freia(FrEIA.modules.GLOWCouplingBlock, (C,), subnet_constructor=network), {}),
    "freia-all-in-one": (
        freia(FrEIA.modules.AllInOneBlock, (C,), subnet_constructor=network),
        {"expected_failures": {"log_det_stays_in_float32_under_autocast": "its 1×1 convolution gives bfloat16"}},
    ),
    "freia-permutation": (freia(FrEIA.modules.PermuteRandom, seed=0), {}),
    "freia-sequence": (freia_sequence, {}),
    "zuko-coupling": (zuko_coupling, {}),
    "zuko-autoregressive": (lambda d: ZukoBlock(zuko.flows.MaskedAutoregressiveTransform(d, C), d, C), {}),
    "normflows-spline": (
        lambda d: NormflowsBlock(
            normflows.flows.AutoregressiveRationalQuadraticSpline(d, 1, 8, num_context_channels=C), d, C
        ),
        {"dims": (2, 3)},  # its inverse goes one dimension after the other: errors reach 1e-9 at 8
    ),
    "normflows-lu": (
        lambda d: NormflowsBlock(normflows.flows.LULinearPermute(d), d),
        {"expected_failures": {"log_det_stays_in_float32_under_autocast": "its matrix product gives bfloat16"}},
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_foreign_block_passes_the_conformance_kit(name):
    build, options = BLOCKS[name]
    print(check_flow_block(build, condition_dim=C, **options))

"""Every invertible block, the sequence, t and e: the kit's properties, then what is special to one."""

import math

import pytest
import torch
from torch import nn

from invkit.flows import (
    ActNorm,
    AffineCoupling,
    FlowSequence,
    FlowSettings,
    InvarianceFlow,
    LULinear,
    MapEmbedder,
    PaperCoupling,
    PaperMapEmbedder,
    PaperVectorEmbedder,
    SemanticFlow,
    Shuffle,
    SplineCoupling,
    TokenEmbedder,
    VectorEmbedder,
)
from invkit.testing import check_flow_block

CONDITION = 3


class T(nn.Module):
    """t behind the interface of a block, so that the same checks serve; the condition is z, flat."""

    def __init__(self, dim, embedder):
        super().__init__()
        blocks = FlowSettings(n_flow=2, width=8).blocks(dim, embedder.condition_dim)
        self.flow = InvarianceFlow(blocks, embedder)

    def forward(self, x, condition):
        return self.flow(x, condition.unflatten(1, self.flow.mean.shape))

    def inverse(self, y, condition):
        return self.flow.blocks.inverse(y, self.flow.embedder(condition.unflatten(1, self.flow.mean.shape)))


class E(nn.Module):
    """e behind the interface of a block."""

    def __init__(self, dim):
        super().__init__()
        self.flow = SemanticFlow(FlowSettings(n_flow=2, width=8).blocks(dim), {"residual": dim - 1, "a": 1})

    def forward(self, x, condition=None):
        return self.flow(x)

    def inverse(self, y, condition=None):
        return self.flow.blocks.inverse(y)


BLOCKS = {
    "actnorm": ActNorm,
    "affine": lambda d: AffineCoupling(d, CONDITION, width=8),
    "affine-unconditional": lambda d: AffineCoupling(d, 0, width=8),
    "paper": lambda d: PaperCoupling(d, CONDITION, width=8),
    "spline": lambda d: SplineCoupling(d, CONDITION, width=8),
    "shuffle": Shuffle,
    "lu": LULinear,
    "sequence": lambda d: FlowSequence(FlowSettings(n_flow=2, width=8).blocks(d, CONDITION)),
    "recomputed": lambda d: FlowSequence(FlowSettings(n_flow=2, width=8).blocks(d, CONDITION), recompute=True),
    "e": E,
}
EMBEDDERS = {
    "t-vector": lambda: VectorEmbedder((5,), 4, 8),
    "t-map": lambda: MapEmbedder((2, 6, 5), 4, 8, 4),
    "t-tokens": lambda: TokenEmbedder((3, 5), 4, 8, 2),
    "t-paper-vector": lambda: PaperVectorEmbedder((5,), 4),
    "t-paper-map": lambda: PaperMapEmbedder((2, 8, 8), 4),
}


EXPECTED_FAILURES = {"recomputed": {"it_compiles_as_one_graph": "its backward is Python by design"}}


@pytest.mark.parametrize("name", BLOCKS)
def test_every_block_passes_the_conformance_kit(name):
    check_flow_block(BLOCKS[name], condition_dim=CONDITION, expected_failures=EXPECTED_FAILURES.get(name))


@pytest.mark.parametrize("name", EMBEDDERS)
def test_t_passes_the_conformance_kit_with_every_embedder(name):
    size = math.prod(EMBEDDERS[name]().config["shape"])
    check_flow_block(lambda d: T(d, EMBEDDERS[name]()), condition_dim=size)


ROUND_TRIPS = [
    (FlowSettings(20), 0.02),
    (FlowSettings(20, coupling="paper", depth=2), 0.02),
    (FlowSettings(20, coupling="spline"), 0.02),
    (FlowSettings(20, mixing="linear"), 0.002),  # larger noise on L and U makes them ill-conditioned
]


@pytest.mark.parametrize(("settings", "noise"), ROUND_TRIPS)
def test_float32_round_trip_of_twenty_blocks(settings, noise):
    flow = FlowSequence(settings.blocks(128, 16))
    x, c = torch.randn(64, 128), torch.randn(64, 16)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
        flow.initialize(x, c)
        error = (flow.inverse(flow(x, c).value, c).value - x).abs().max()
    assert error < 1e-4


def test_paper_preset_has_the_released_number_of_parameters():
    count = lambda blocks: sum(p.numel() for b in blocks for p in b.parameters())  # noqa: E731
    with torch.device("meta"):
        assert count(PaperCoupling(128, 128, 1024, 2) for _ in range(20)) + 20 * 2 * 128 == 188_999_680
    blocks = FlowSettings.paper(n_flow=2, width=64).blocks(12, 12)
    assert [type(b).__name__ for b in blocks] == ["ActNorm", "PaperCoupling", "Shuffle"] * 2


def test_actnorm_initialises_to_zero_mean_and_unit_variance():
    norm, x = ActNorm(4), 3 + 5 * torch.randn(1000, 4)
    norm.initialize(x)
    y = norm(x).value
    torch.testing.assert_close(y.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std(0, correction=0), torch.ones(4), atol=1e-4, rtol=0)


@pytest.mark.parametrize("x", [torch.full((9, 3), 7.0), torch.randn(1, 3), torch.tensor([[1e6, 0, 1], [1e6, 1, 1]])])
def test_actnorm_survives_constant_channels_and_a_batch_of_one(x):
    norm = ActNorm(3)
    norm.initialize(x)
    y = norm(x).value
    assert y.isfinite().all()
    assert y.abs().max() < 10
    torch.testing.assert_close(norm.inverse(y).value, x)


@pytest.mark.parametrize("coupling", ["affine", "paper", "spline"])
def test_recomputed_gradients_equal_stored_ones(coupling):
    blocks = FlowSettings(n_flow=4, width=16, coupling=coupling).blocks(6, CONDITION)
    stored = FlowSequence(blocks).double()
    with torch.no_grad():
        for parameter in stored.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    gradients = []
    x0, c0 = 2 * torch.randn(5, 6, dtype=torch.float64), torch.randn(5, CONDITION, dtype=torch.float64)
    for recompute in (False, True):
        stored.zero_grad()
        flow = FlowSequence(stored.blocks, recompute=recompute)
        x, c = x0.clone().requires_grad_(), c0.clone().requires_grad_()
        value, log_det = flow(x, c)
        (value.pow(3).sum() - 2 * log_det.sum()).backward()
        gradients.append([x.grad, c.grad, *(p.grad.clone() for p in stored.parameters())])
    for expected, actual in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("seed", [0, 12345, -1, 2**64 - 1, 2**64 + 7, 1000 * 2**60 + 3])
def test_mixings_take_seeds_of_any_size_and_those_of_torch_as_torch_does(seed):
    theirs = torch.Generator().manual_seed({2**64 + 7: 7, 1000 * 2**60 + 3: 2**63 + 3}.get(seed, seed))
    expected = torch.randperm(9, generator=theirs)
    assert torch.equal(Shuffle(9, seed).permutation, expected)
    assert LULinear(9, seed)(torch.eye(9)).value.isfinite().all()


@pytest.mark.parametrize("shape", [6, (3, 8, 8)])
def test_a_flow_takes_a_large_seed(shape):
    assert FlowSettings(n_flow=2, width=8).blocks(shape, seed=2**60)


def test_spline_is_finite_far_outside_its_interval():
    block = SplineCoupling(4, CONDITION, width=8).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.tensor([[-1e3, 1e3, 5.0, -5.0]], dtype=torch.float64, requires_grad=True)
    value, log_det = block(x, torch.zeros(1, CONDITION, dtype=torch.float64))
    (value.sum() + log_det.sum()).backward()
    assert value.isfinite().all()
    assert x.grad.isfinite().all()

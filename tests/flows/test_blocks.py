"""Every invertible block, the sequence, t and e: the kit's properties, then what is special to one."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from invkit.core import FlowBlock
from invkit.flows import (
    ActNorm,
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
    build_embedder,
    build_flow_block,
)
from invkit.plugins import list_names, load_named
from invkit.testing import check_embedder, check_flow_block
from invkit.testing.flow_block import blocks_by_codes

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


def registered(condition_dim=CONDITION):
    """Every built-in flow block, for each kind of code that it takes."""
    for name in list_names("flow_block", "invkit")["invkit"]:
        found = blocks_by_codes(partial(load_named, "flow_block", f"invkit:{name}", FlowBlock), condition_dim, width=8)
        yield from ((name, codes, blocks) for codes, blocks in found.items())


REGISTERED = [pytest.param(blocks, id=f"{name}-{codes}") for name, codes, blocks in registered()]
COMPOSED = {
    "sequence": lambda d: FlowSequence(FlowSettings(n_flow=2, width=8).blocks(d, CONDITION)),
    "recomputed": lambda d: FlowSequence(FlowSettings(n_flow=2, width=8).blocks(d, CONDITION), recompute=True),
    "e": E,
}
EXPECTED_FAILURES = {"recomputed": {"it_compiles_as_one_graph": "its backward is Python by design"}}
T_EMBEDDERS = {
    "vector": lambda: VectorEmbedder((5,), 4, 8),
    "map": lambda: MapEmbedder((2, 6, 5), 4, 8, 4),
    "tokens": lambda: TokenEmbedder((3, 5), 4, 8, 2),
    "paper-vector": lambda: PaperVectorEmbedder((5,), 4),
    "paper-map": lambda: PaperMapEmbedder((2, 8, 8), 4),
}


@pytest.mark.parametrize("blocks", REGISTERED)
def test_every_registered_block_passes_the_conformance_kit(blocks):
    check_flow_block(blocks.build, dims=blocks.dims, condition_dim=CONDITION)


@pytest.mark.parametrize(
    "blocks", [pytest.param(blocks, id=f"{name}-{codes}") for name, codes, blocks in registered(condition_dim=0)]
)
def test_every_registered_block_passes_the_conformance_kit_without_a_condition(blocks):
    check_flow_block(blocks.build, dims=blocks.dims[1:], condition_dim=0)


@pytest.mark.parametrize("name", COMPOSED)
def test_flows_of_blocks_pass_the_conformance_kit(name):
    check_flow_block(COMPOSED[name], condition_dim=CONDITION, expected_failures=EXPECTED_FAILURES.get(name))


@pytest.mark.parametrize("name", list_names("embedder", "invkit")["invkit"])
def test_every_registered_embedder_passes_the_conformance_kit(name):
    check_embedder(partial(build_embedder, f"invkit:{name}"))


@pytest.mark.parametrize("name", T_EMBEDDERS)
def test_t_passes_the_conformance_kit_with_embedders_of_every_shape(name):
    size = math.prod(T_EMBEDDERS[name]().config["shape"])
    check_flow_block(lambda d: T(d, T_EMBEDDERS[name]()), condition_dim=size)


def shape_of(codes, dim):
    return (dim,) if codes == "vectors" else (dim // 16, 4, 4)


@pytest.mark.parametrize(("name", "codes"), [(name, codes) for name, codes, _ in registered()])
def test_float32_round_trip_of_twenty_blocks(name, codes):
    noise = 0.002 if name == "linear" else 0.02  # larger noise on L and U makes them ill-conditioned
    build = partial(build_flow_block, name, shape_of(codes, 128), 16)
    options = {"width": 384, "depth": 2} if codes == "vectors" else {"width": 16}
    flow = FlowSequence(
        block for k in range(20) for block in (ActNorm(128), build(seed=k, index=k, **options), Shuffle(128, k))
    )
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


@pytest.mark.parametrize(("name", "codes"), [(name, codes) for name, codes, _ in registered()])
def test_recomputed_gradients_equal_stored_ones(name, codes):
    dim = 6 if codes == "vectors" else 16
    build = partial(build_flow_block, name, shape_of(codes, dim), CONDITION, width=16)
    blocks = [each for k in range(4) for each in (ActNorm(dim), build(seed=k, index=k), Shuffle(dim, k))]
    stored = FlowSequence(blocks).double()
    with torch.no_grad():
        for parameter in stored.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
            parameter.add_(0.2 * min(1, (16 / fan_in) ** 0.5) * torch.randn_like(parameter))
    gradients = []
    x0, c0 = 2 * torch.randn(5, dim, dtype=torch.float64), torch.randn(5, CONDITION, dtype=torch.float64)
    for recompute in (False, True):
        stored.zero_grad()
        flow = FlowSequence(stored.blocks, recompute=recompute)
        x, c = x0.clone().requires_grad_(), c0.clone().requires_grad_()
        value, log_det = flow(x, c)
        (value.pow(3).sum() - 2 * log_det.sum()).backward()
        of_c = torch.zeros_like(c) if c.grad is None else c.grad  # not every block takes a condition
        gradients.append([x.grad, of_c, *(p.grad.clone() for p in stored.parameters())])
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

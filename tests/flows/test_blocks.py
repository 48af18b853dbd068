"""One set of properties for every invertible block, the sequence, t and e."""

import copy

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

CONDITION = 3


class Frozen(nn.Module):
    """t or e behind the interface of a block, so that the same tests serve."""

    def __init__(self, flow, z=None):
        super().__init__()
        self.flow, self.z = flow, z

    def forward(self, x, condition=None):
        return self.flow(x) if self.z is None else self.flow(x, self.z[: len(x)])

    def inverse(self, y, condition=None):
        return self.flow.blocks.inverse(y, None if self.z is None else self.flow.embedder(self.z[: len(y)]))


def make_t(dim, embedder):
    z = torch.randn(8, *embedder.config["shape"])
    blocks = FlowSettings(n_flow=2, width=8).blocks(dim, embedder.condition_dim)
    return Frozen(InvarianceFlow(blocks, embedder), z)


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
    "t-vector": lambda d: make_t(d, VectorEmbedder((5,), 4, 8)),
    "t-map": lambda d: make_t(d, MapEmbedder((2, 6, 5), 4, 8, 4)),
    "t-tokens": lambda d: make_t(d, TokenEmbedder((3, 5), 4, 8, 2)),
    "t-paper-vector": lambda d: make_t(d, PaperVectorEmbedder((5,), 4)),
    "t-paper-map": lambda d: make_t(d, PaperMapEmbedder((2, 8, 8), 4)),
    "e": lambda d: Frozen(SemanticFlow(FlowSettings(n_flow=2, width=8).blocks(d), {"residual": d - 1, "a": 1})),
}
every_block = pytest.mark.parametrize("name", BLOCKS)
every_dim = pytest.mark.parametrize("dim", [2, 3, 7, 8])


def perturbed(name, dim, dtype=torch.float64):
    """A block away from its identity start, so that no test passes at the identity."""
    torch.manual_seed(dim)
    block = BLOCKS[name](dim).to(dtype)
    if getattr(block, "z", None) is not None:
        block.z = block.z.to(dtype)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return block


def batch(dim, n=5, dtype=torch.float64, spread=2.0):
    return spread * torch.randn(n, dim, dtype=dtype), torch.randn(n, CONDITION, dtype=dtype)


@every_block
@every_dim
def test_log_determinant_is_that_of_autograds_jacobian(name, dim):
    block, (x, c) = perturbed(name, dim), batch(dim)
    log_det = block(x, c).log_det
    jacobian = torch.autograd.functional.jacobian(lambda x: block(x, c).value.sum(0), x)  # (D, B, D)
    expected = torch.linalg.slogdet(jacobian.movedim(1, 0)).logabsdet
    torch.testing.assert_close(log_det, expected, rtol=0, atol=1e-9)


@every_block
@every_dim
def test_inverse_undoes_forward_and_negates_the_log_determinant(name, dim):
    block, (x, c) = perturbed(name, dim), batch(dim)
    y, log_det = block(x, c)
    back, log_det_back = block.inverse(y, c)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-10)
    torch.testing.assert_close(log_det_back, -log_det, rtol=0, atol=1e-10)


@every_block
def test_each_row_stands_alone_and_a_batch_of_one_works(name):
    block, (x, c) = perturbed(name, 7), batch(7)
    whole = block(x, c)
    if getattr(block, "z", None) is not None:
        alone = block(x[:1], c[:1])
        torch.testing.assert_close(alone.value, whole.value[:1])
        return
    for k in range(len(x)):
        alone = block(x[k : k + 1], c[k : k + 1])
        torch.testing.assert_close(alone.value, whole.value[k : k + 1])
        torch.testing.assert_close(alone.log_det, whole.log_det[k : k + 1])


@every_block
def test_every_parameter_gets_a_finite_gradient(name):
    if name == "shuffle":
        return  # it has none
    block, (x, c) = perturbed(name, 8), batch(8)
    value, log_det = block(x, c)
    (value.square().sum() - log_det.sum()).backward()
    for key, parameter in block.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@every_block
def test_saved_state_restores_the_same_map(name):
    block, (x, c) = perturbed(name, 8), batch(8)
    torch.manual_seed(99)
    other = copy.deepcopy(block)
    with torch.no_grad():
        for tensor in [*other.parameters(), *other.buffers()]:
            tensor.copy_(torch.zeros_like(tensor))
    other.load_state_dict(block.state_dict())
    torch.testing.assert_close(other(x, c).value, block(x, c).value, rtol=0, atol=0)


@every_block
def test_it_compiles_as_one_graph(name):
    if name == "recomputed":
        return  # its backward is Python by design
    torch._dynamo.reset()
    block, (x, c) = perturbed(name, 4, torch.float32), batch(4, dtype=torch.float32)
    compiled = torch.compile(block, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, c).value, block(x, c).value)


@every_block
def test_log_determinants_are_never_in_half_precision(name):
    block, (x, c) = perturbed(name, 8, torch.float32), batch(8, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        value, log_det = block(x, c)
    assert log_det.dtype == torch.float32
    assert value.dtype == torch.float32


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


def test_forward_never_changes_the_state():
    norm = ActNorm(3)
    before = copy.deepcopy(norm.state_dict())
    norm(5 + torch.randn(10, 3))
    norm.eval()(5 + torch.randn(10, 3))
    for key, value in norm.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


@pytest.mark.parametrize("coupling", ["affine", "paper", "spline"])
def test_recomputed_gradients_equal_stored_ones(coupling):
    blocks = FlowSettings(n_flow=4, width=16, coupling=coupling).blocks(6, CONDITION)
    stored = FlowSequence(blocks).double()
    with torch.no_grad():
        for parameter in stored.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    gradients = []
    x0, c0 = batch(6)
    for recompute in (False, True):
        stored.zero_grad()
        flow = FlowSequence(stored.blocks, recompute=recompute)
        x, c = x0.clone().requires_grad_(), c0.clone().requires_grad_()
        value, log_det = flow(x, c)
        (value.pow(3).sum() - 2 * log_det.sum()).backward()
        gradients.append([x.grad, c.grad, *(p.grad.clone() for p in stored.parameters())])
    for expected, actual in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-8, atol=1e-9)


def test_spline_is_finite_far_outside_its_interval():
    block = perturbed("spline", 4)
    x = torch.tensor([[-1e3, 1e3, 5.0, -5.0]], dtype=torch.float64, requires_grad=True)
    value, log_det = block(x, torch.zeros(1, CONDITION, dtype=torch.float64))
    (value.sum() + log_det.sum()).backward()
    assert value.isfinite().all()
    assert x.grad.isfinite().all()

"""t on a problem whose answer is known in closed form."""

import math

import pytest
import torch

from invkit.data import Codes
from invkit.errors import LayerError
from invkit.evaluation import invariance
from invkit.flows import (
    FlowSettings,
    InvarianceFlow,
    MapEmbedder,
    PaperMapEmbedder,
    PaperVectorEmbedder,
    TokenEmbedder,
    VectorEmbedder,
    embedder_for,
)
from invkit.training import FitSettings, InvarianceTask, fit

N, NOISE = 6, 0.3
CASES = {"rank 1": (1, False), "rank 3, correlated": (3, True), "rank 6, correlated": (6, True)}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_trained_t_meets_the_exact_conditional(case):
    """z̄ ~ N(0, Σ), z = A z̄ + noise: entropy, eq. 19, posterior mean and covariance are all exact."""
    rank, correlated = CASES[case]
    generator = torch.Generator().manual_seed(rank)
    mix = torch.randn(N, N, generator=generator) / math.sqrt(N)
    sigma = mix @ mix.T + 0.3 * torch.eye(N) if correlated else torch.eye(N)
    a = torch.randn(rank, N, generator=generator)
    noise = NOISE**2 * torch.eye(rank)
    gain = sigma @ a.T @ torch.linalg.inv(a @ sigma @ a.T + noise)
    posterior = sigma - gain @ a @ sigma
    entropy = 0.5 * (N * (1 + math.log(2 * math.pi)) + torch.logdet(posterior)) / N
    left_open = posterior.trace() / sigma.trace()

    rows = 40_000
    latents = torch.randn(rows, N, generator=generator) @ torch.linalg.cholesky(sigma).T
    z = latents @ a.T + NOISE * torch.randn(rows, rank, generator=generator)
    torch.manual_seed(0)
    settings = FlowSettings(n_flow=4, width=64, mixing="linear")
    t = InvarianceFlow(settings.blocks(N, N), embedder_for((rank,), N, width=64))
    t.initialize(latents[:4096], z[:4096])
    codes = Codes(latents, torch.full_like(latents, 1e-6))
    train, test = (
        Codes(codes.mean[:32_000], codes.std[:32_000]),
        Codes(codes.mean[32_000:], codes.std[32_000:]),
    )
    task = InvarianceTask(t, train, z[:32_000], (test, z[32_000:]))
    result = fit(task, FitSettings(steps=1500, batch_size=512, learning_rate=3e-3))

    assert result.best == pytest.approx(float(entropy), abs=0.03)
    assert invariance(t, z[32_000:]).value == pytest.approx(float(left_open), abs=0.02)
    with torch.no_grad():
        samples = t.sample(t.perceive(z[-200:]), 400, torch.Generator().manual_seed(1))
    expected = z[-200:] @ gain.T
    scale = posterior.diagonal().mean().sqrt()
    error = (samples.mean(1) - expected).square().mean().sqrt() / scale
    assert error < 0.15
    covariance = torch.stack([s.T.cov() for s in samples]).mean(0)
    assert (covariance - posterior).norm() / posterior.norm() < 0.1


def test_embedders_are_chosen_by_shape():
    assert isinstance(embedder_for((7,), 4), VectorEmbedder)
    assert isinstance(embedder_for((7, 5), 4), TokenEmbedder)
    assert isinstance(embedder_for((7, 5, 5), 4), MapEmbedder)
    with pytest.raises(LayerError, match="shape"):
        embedder_for((2, 3, 4, 5), 4)


@pytest.mark.parametrize("shape", [(9,), (5, 6), (4, 1, 1), (4, 17, 9)])
def test_every_embedder_embeds_a_batch_of_one(shape):
    assert embedder_for(shape, 6)(torch.randn(1, *shape)).shape == (1, 6)


def test_paper_embedders_have_the_released_widths():
    linear = [m for m in PaperVectorEmbedder((4096,), 128).net if isinstance(m, torch.nn.Linear)]
    assert [m.out_features for m in linear] == [2773, 1450, 128]
    conv = [m for m in PaperMapEmbedder((256, 13, 13), 128, n_down=2).net if isinstance(m, torch.nn.Conv2d)]
    assert [tuple(m.weight.shape) for m in conv] == [(64, 256, 4, 4), (128, 64, 4, 4), (128, 128, 3, 3)]


def test_the_noise_floor_is_relative_to_the_total_standard_deviation():
    z = torch.randn(500, 40) * torch.linspace(0.1, 3, 40) + 5
    t = InvarianceFlow(FlowSettings(n_flow=1, width=8).blocks(4, 4), VectorEmbedder((40,), 4), noise_floor=0.2)
    t.initialize(torch.randn(500, 4), z)
    clean = (z - t.mean) / t.scale
    noise = t.perceive(z, torch.Generator().manual_seed(0)) - clean
    total = clean.var(0).sum().sqrt()
    assert float(noise.std(0).mean() / total) == pytest.approx(0.2, rel=0.05)
    faint, strong = noise[:, 0].std(), noise[:, -1].std()
    assert float(faint / strong) == pytest.approx(1, abs=0.1)  # not relative to the channel


def test_a_constant_representation_has_a_finite_likelihood():
    t = InvarianceFlow(FlowSettings(n_flow=1, width=8).blocks(4, 4), VectorEmbedder((3,), 4), noise_floor=0.1)
    z = torch.full((50, 3), 2.0)
    t.initialize(torch.randn(50, 4), z)
    assert t.nll(torch.randn(50, 4), t.perceive(z, torch.Generator().manual_seed(0))).isfinite().all()


def test_samples_share_their_v_across_images():
    t = InvarianceFlow(FlowSettings(n_flow=2, width=8).blocks(4, 4), VectorEmbedder((3,), 4))
    v, z = torch.randn(6, 4), torch.randn(6, 3)
    torch.testing.assert_close(t(t.inverse(v, z), z).value, v, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "settings", [FlowSettings(3, 16), FlowSettings.paper(3, 16, 1), FlowSettings(2, 16, mixing="linear")]
)
def test_many_codes_of_one_condition_are_those_of_the_condition_repeated(settings):
    torch.manual_seed(0)
    h = settings.build_embedder((5,), 6)
    t = InvarianceFlow(settings.blocks(6, h.condition_dim), h)
    for parameter in t.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    v, condition = torch.randn(4, 7, 6), torch.randn(4, h.condition_dim)
    one_by_one = torch.stack([t.inverse_given(v[:, k], condition) for k in range(7)], 1)
    torch.testing.assert_close(t.inverse_given(v, condition), one_by_one, atol=1e-4, rtol=1e-4)
    assert t.blocks.broadcasts == (settings.mixing == "shuffle")

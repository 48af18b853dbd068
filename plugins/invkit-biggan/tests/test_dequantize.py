"""The VAE of table S17: its shape, its loss in closed form, and that it learns."""

import math

import pytest
import torch
from invkit_biggan.dequantize import EmbeddingVAE, train_dequantizer
from torch import nn

from invkit.errors import DataError
from invkit.training import FitSettings

QUICK = FitSettings(steps=400, batch_size=50, learning_rate=2e-3, evaluate_every=100)


@pytest.fixture(scope="module")
def embeddings():
    return 0.2 * torch.randn(50, 32, generator=torch.Generator().manual_seed(0)) + 1


@pytest.fixture(scope="module")
def trained(embeddings):
    return train_dequantizer(embeddings, width=96, settings=QUICK)


def test_the_layers_are_those_of_the_table():
    with torch.device("meta"):
        vae = EmbeddingVAE()
    shapes = {
        name: [(m.in_features, m.out_features) for m in part.modules() if isinstance(m, nn.Linear)]
        for name, part in vae.named_children()
    }
    net = [(128, 4096), (4096, 4096), (4096, 4096), (4096, 128)]
    assert shapes == {
        "encoder": net, "to_mean": net, "to_log_variance": net, "decoder": [*net[:3], (4096, 4096), net[3]]
    }  # fmt: skip
    assert {m.negative_slope for m in vae.modules() if isinstance(m, nn.LeakyReLU)} == {0.01}


def test_the_loss_is_the_evidence_bound_in_closed_form(embeddings):
    vae = EmbeddingVAE(32, width=8, noise=0.3)
    vae.fit_scale(embeddings)
    for part in (vae.to_mean, vae.to_log_variance, vae.decoder):
        nn.init.zeros_(part[-1].weight)
        nn.init.constant_(part[-1].bias, 0.5)
    variance = math.exp(10 * math.tanh(0.45) - 4)
    kl = 0.5 * (0.25 + variance - 1 - math.log(variance))
    scaled = (embeddings - embeddings.mean(0)) / (embeddings - embeddings.mean(0)).square().mean().sqrt()
    nll = -torch.distributions.Normal(0.5, 0.3).log_prob(scaled).mean()
    assert vae.loss(embeddings, torch.Generator()).item() == pytest.approx(nll.item() + kl, rel=1e-5)


def test_training_lowers_the_loss(embeddings, trained):
    untrained = EmbeddingVAE(32, width=96)
    untrained.fit_scale(embeddings)
    before, after = (vae.loss(embeddings, torch.Generator().manual_seed(0)).item() for vae in (untrained, trained))
    assert after < 0.1 * before


def test_draws_differ_stay_near_their_class_and_spread_at_least_by_the_noise(embeddings, trained):
    draws = trained.dequantize(embeddings.repeat(40, 1), torch.Generator().manual_seed(0))
    nearest = torch.cdist(draws, embeddings).argmin(1).view(40, 50)
    assert (nearest == torch.arange(50)).float().mean() > 0.95
    assert draws.view(40, 50, 32).std(0).mean() > 0.9 * trained.noise * trained.scale


def test_a_seed_decides_the_training_and_a_file_keeps_it(embeddings, trained, tmp_path):
    path = tmp_path / "dequantiser.safetensors"
    first = train_dequantizer(embeddings, width=96, settings=QUICK, path=path)
    found = train_dequantizer(embeddings, width=96, settings=QUICK, path=path)
    for vae in (first, found):
        assert all(torch.equal(v, vae.state_dict()[k]) for k, v in trained.state_dict().items())


def test_training_leaves_every_global_generator_alone(embeddings, monkeypatch):
    seeds, state = [], torch.get_rng_state()
    monkeypatch.setattr("torch.cuda.manual_seed_all", seeds.append)
    train_dequantizer(embeddings, width=8, settings=FitSettings(steps=1, batch_size=50))
    assert torch.equal(torch.get_rng_state(), state)
    assert not seeds


def test_embeddings_of_another_shape_are_refused():
    with pytest.raises(DataError, match="no class embeddings"):
        train_dequantizer(torch.zeros(128))

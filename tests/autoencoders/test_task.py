"""The autoencoder's task: its terms against closed forms, who gets which gradient, exact resumption with a critic."""

import copy
import os
import signal

import pytest
import torch
from torch import nn
from torch.distributions import Laplace, Normal, kl_divergence

import invkit
from invkit.autoencoders import AutoencoderTask, ConvAutoencoder, ImageMetric, PatchDiscriminator
from invkit.autoencoders.metric import adaptive_weight, critic_loss, generator_loss
from invkit.core import Posterior
from invkit.data import ImageSet
from invkit.data.augment import random_flip_and_crop
from invkit.evaluation import psnr
from invkit.interpretees import ModuleInterpretee, PerceptualDistance
from invkit.training import FitSettings, fit

FEW = FitSettings(steps=10, batch_size=8, learning_rate=1e-3, evaluate_every=2)


class Fixed(ConvAutoencoder):
    def encode(self, images):
        return Posterior(torch.full((len(images), 8), 0.5), torch.full((len(images), 8), 2.0))

    def decode(self, latents):
        return torch.full((len(latents), 3, 28, 28), 0.25)


@pytest.fixture
def data():
    return ImageSet(torch.rand(24, 3, 28, 28))


@pytest.mark.parametrize("pixel", ["l2", "l1"])
def test_the_loss_is_that_of_a_density_at_its_best_scale(data, pixel):
    task = AutoencoderTask(Fixed(28, 8), data, data, ImageMetric(pixel))
    error = data.images() - 0.25
    best = Normal(0.0, error.square().mean().sqrt()) if pixel == "l2" else Laplace(0.0, error.abs().mean())
    nll = -best.log_prob(error).mean()
    kl = 8 * kl_divergence(Normal(0.5, 2.0), Normal(0.0, 1.0)) / (3 * 28 * 28)
    assert task.validation_loss(task.module) == pytest.approx(float(nll + kl), rel=1e-5)


def test_psnr_of_a_known_error():
    x = torch.zeros(2, 3, 4, 4)
    assert psnr(x, x + 0.1).tolist() == pytest.approx([20.0, 20.0], rel=1e-4)


def pair():
    torch.manual_seed(0)
    return ConvAutoencoder(28, 8, width=4), PatchDiscriminator(width=4)


def task_of(data, **options):
    autoencoder, critic = pair()
    return AutoencoderTask(autoencoder, data, data, critic=critic, **options)


def gradients(module):
    return {name for name, p in module.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


def test_decoder_and_critic_learn_from_their_own_losses_only():
    autoencoder, critic = pair()
    x = torch.rand(4, 3, 28, 28)
    fakes = autoencoder.decode(torch.randn(4, 8))
    generator_loss(critic, fakes).backward(retain_graph=True)
    assert not gradients(critic)
    assert gradients(autoencoder.decoder)
    autoencoder.zero_grad()
    critic_loss(critic, x, fakes).backward()
    assert gradients(critic)
    assert not gradients(autoencoder)


def test_cross_entropies_of_a_constant_critic_are_log_2():
    blind = nn.Sequential(nn.Flatten(), nn.Linear(3 * 28 * 28, 1))
    nn.init.zeros_(blind[1].weight)
    nn.init.zeros_(blind[1].bias)
    x = torch.rand(2, 3, 28, 28)
    assert generator_loss(blind, x).item() == pytest.approx(0.6931, abs=1e-3)
    assert critic_loss(blind, x, x).item() == pytest.approx(0.6931, abs=1e-3)


def test_the_adaptive_weight_is_a_ratio_of_norms():
    last = nn.Parameter(torch.tensor([3.0, 4.0]))
    assert adaptive_weight(10 * last.sum(), last[0], last).item() == pytest.approx(10 * 2**0.5, rel=1e-3)
    assert adaptive_weight(last.sum(), 0 * last.sum(), last).item() == pytest.approx(1e4)


def test_a_critic_contributes_from_its_step_and_every_term_is_logged(data):
    task = task_of(data, critic_from=4)
    result = fit(task, FEW)
    assert [step for step, *_ in result.history] == [2, 4, 6, 8, 10]
    assert [("discriminator" in terms) for terms in result.terms] == [False, False, True, True, True]
    assert set(result.terms[-1]) == {"pixel", "γ", "KL", "generator", "adaptive weight", "discriminator"}


def test_with_a_critic_the_last_weights_are_kept(data):
    averages = []
    task = task_of(data)
    fit(task, FEW, on_evaluate=lambda _, module: averages.append(copy.deepcopy(module.state_dict())))
    assert all(torch.equal(value, averages[-1][name]) for name, value in task.module.state_dict().items())


def test_a_perceptual_term_is_part_of_gamma(data):
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    distance = PerceptualDistance(ModuleInterpretee(network, invkit.Preprocess()), ["0"])
    task = AutoencoderTask(pair()[0], data, data, ImageMetric("l1", distance, 0.5))
    task.loss(task.module, torch.arange(4), torch.Generator())
    assert task.terms["γ"] == pytest.approx(task.terms["pixel"] + task.terms["perceptual"])
    assert task.terms["perceptual"] > 0


def test_ten_steps_with_a_critic_resume_exactly(tmp_path, data):
    whole = task_of(data)
    fit(whole, FEW)
    cut = task_of(data)

    def stop(step, _module):
        if step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    assert fit(cut, FEW, path=tmp_path / "autoencoder", on_evaluate=stop).stopped == "interrupted"
    again = task_of(data)
    result = fit(again, FEW, path=tmp_path / "autoencoder")
    assert result.steps == 10
    assert len(result.terms) == len(result.history) == 5
    for name, value in whole.module.state_dict().items():
        assert torch.equal(again.module.state_dict()[name], value), name


def test_a_crop_shows_a_part_of_the_image_and_half_are_mirrored():
    ramp = torch.linspace(0, 1, 32).expand(400, 3, 32, 32)
    seen = random_flip_and_crop(ramp, torch.Generator().manual_seed(0))
    rising = seen[:, 0, 0, -1] > seen[:, 0, 0, 0]
    assert 0.4 < rising.float().mean() < 0.6
    span = (seen[:, 0, 0, -1] - seen[:, 0, 0, 0]).abs()
    assert 0.84 < span.min() < 0.88
    assert 0.97 < span.max() <= 1.001
    again = random_flip_and_crop(ramp, torch.Generator().manual_seed(0))
    assert torch.equal(again, seen)

"""The autoencoder of table S1: shapes of the table, every size, gradients, its loss against a closed form."""

import math

import pytest
import torch

from invkit.autoencoders import ConvAutoencoder
from invkit.core import Posterior
from invkit.data import ImageSet
from invkit.errors import SettingsError
from invkit.training import AutoencoderTask, psnr


def test_at_28_px_the_shapes_are_those_of_the_table():
    model = ConvAutoencoder(28, 64).eval()
    shapes = []
    for module in [*model.encoder, model.to_posterior, model.from_latent, *model.decoder]:
        module.register_forward_hook(lambda _m, _i, out: shapes.append(tuple(out.shape[1:])))
    model.decode(model.encode(torch.rand(2, 3, 28, 28)).mean)
    expected = [(64, 14, 14), (128, 7, 7), (128,), (6272,), (128, 7, 7), (64, 14, 14), (3, 28, 28)]
    assert list(dict.fromkeys(shapes)) == list(dict.fromkeys(expected))


@pytest.mark.parametrize("size", [28, 29, 31, 32, 37, 48, 57, 63, 64])
def test_every_size_comes_back(size):
    model = ConvAutoencoder(size, 8, width=8)
    x = torch.rand(2, 3, size, size)
    posterior = model.encode(x)
    assert posterior.mean.shape == posterior.std.shape == (2, 8)
    assert (posterior.std > 0).all()
    y = model.decode(posterior.sample(torch.Generator().manual_seed(0)))
    assert y.shape == x.shape
    assert 0 <= y.min() <= y.max() <= 1


@pytest.mark.parametrize("size", [27, 65])
def test_other_sizes_are_refused(size):
    with pytest.raises(SettingsError, match="28 to 64"):
        ConvAutoencoder(size)


def test_the_loss_is_that_of_a_normal_with_its_best_variance():
    class Fixed(ConvAutoencoder):
        def encode(self, images):
            return Posterior(torch.full((len(images), 8), 0.5), torch.full((len(images), 8), 2.0))

        def decode(self, latents):
            return torch.full((len(latents), 3, 28, 28), 0.25)

    data = ImageSet(torch.rand(6, 3, 28, 28))
    task = AutoencoderTask(Fixed(28, 8), data, data)
    error = (data.images() - 0.25).square()
    gamma = error.mean()
    values = 3 * 28 * 28
    nll = 0.5 * (error / gamma + gamma.log() + math.log(2 * math.pi)).sum((1, 2, 3)).mean()
    kl = 0.5 * 8 * (0.25 + 4 - 1 - math.log(4))
    assert task.held_out(task.module) == pytest.approx(float((nll + kl) / values), rel=1e-5)


def test_psnr_of_a_known_error():
    x = torch.zeros(2, 3, 4, 4)
    assert psnr(x, x + 0.1).tolist() == pytest.approx([20.0, 20.0], rel=1e-4)

"""The autoencoder of table S1: shapes of the table, every size."""

import pytest
import torch

from invkit.autoencoders import ConvAutoencoder
from invkit.errors import SettingsError


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

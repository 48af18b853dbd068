"""The autoencoder of table S7: the published sizes, shapes of tables S9 and S4, spectral norm against an SVD."""

import pytest
import torch
from torch import nn

from invkit.autoencoders import BigAutoencoder, PatchDiscriminator, describe, rebuild
from invkit.autoencoders.spectral import PowerStep
from invkit.errors import ArtefactError, SettingsError
from invkit.testing import check_autoencoder


def small(size=64, **options):
    return BigAutoencoder(size, 16, 4, "resnet18", classes=7, hidden=9, **options)


def millions(*modules):
    return sum(p.numel() for module in modules for p in module.parameters()) / 1e6


@pytest.mark.parametrize("size", [32, 64])
def test_it_conforms(size):
    check_autoencoder(small(size).eval())


def test_parameters_are_as_many_as_published():
    with torch.device("meta"):
        published, table = BigAutoencoder(hidden=2000), BigAutoencoder()
    assert millions(published.trunk) == pytest.approx(43.0, abs=0.05)
    assert millions(published.generator, published.to_class) == pytest.approx(81.0, abs=0.3)
    assert millions(table) == pytest.approx(124.0 - 10.2, abs=0.5)  # the perceptron before the softmax is narrower


@pytest.mark.parametrize(("size", "chunks"), [(64, [48, *[20] * 4]), (128, [28, *[20] * 5]), (256, [8, *[20] * 6])])
def test_the_code_is_split_as_in_the_released_weights(size, chunks):
    with torch.device("meta"):
        generator = BigAutoencoder(size, 128).generator
    assert generator.G_linear.module.weight_bar.shape[1] == chunks[0]
    assert [block.HyperBN.gamma_embed.module.weight_bar.shape[1] - 128 for block in generator.GBlock] == chunks[1:]


def test_maps_at_128_px_are_those_of_table_s9():
    model, shapes = BigAutoencoder(128, 128, 8, "resnet18", classes=7).eval(), []
    for block in [*model.generator.GBlock, model.generator.attention, model.generator.colorize]:
        block.register_forward_hook(lambda _m, _i, out: shapes.append(tuple(out.shape[1:])))
    with torch.no_grad():
        model.decode(torch.randn(1, 128))
    wide = [(16, 8), (8, 16), (4, 32), (2, 64), (2, 64), (1, 128)]  # attention after the fourth block
    assert shapes == [(8 * w, side, side) for w, side in wide] + [(3, 128, 128)]


def test_maps_of_the_discriminator_are_those_of_table_s4():
    model, shapes = PatchDiscriminator(), []
    for layer in model.net:
        if isinstance(layer, nn.Conv2d):
            assert layer.kernel_size == (4, 4)
            layer.register_forward_hook(lambda _m, _i, out: shapes.append(tuple(out.shape[1:])))
    assert model(torch.rand(2, 3, 128, 128)).shape == (2, 1, 8, 8)
    assert shapes == [(64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8), (512, 8, 8), (1, 8, 8)]
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in model.net) == 4


def test_training_brings_a_weight_to_norm_one_and_evaluation_changes_nothing():
    layer = PowerStep(20, 30, bias=False).double()
    nn.init.normal_(layer.module.weight_bar)
    for _ in range(200):
        layer(torch.randn(1, 30).double())
    weight = layer(torch.eye(30).double()).T
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, abs=1e-3)
    before = layer.module.weight_u.clone()
    layer.eval()(torch.randn(1, 30).double())
    assert torch.equal(layer.module.weight_u, before)


def test_the_singular_value_takes_no_gradient_of_its_vectors():
    layer = PowerStep(5, 6, bias=False).double().eval()
    u, _, v = torch.linalg.svd(layer.module.weight_bar.detach())
    layer.module.weight_u.copy_(u[:, 0])
    x = torch.randn(3, 6).double()
    layer(x).sum().backward()
    weight = layer.module.weight_bar.detach().requires_grad_()
    (x @ (weight / (u[:, 0] @ weight @ v[0])).T).sum().backward()
    assert torch.allclose(layer.module.weight_bar.grad, weight.grad, rtol=1e-2)  # the published code adds 1e-4 to norms


def test_bfloat16_leaves_the_singular_value_alone():
    layer = PowerStep(32, 32, bias=False).eval()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = layer(torch.eye(32)).float()
    assert (rounded - layer(torch.eye(32))).abs().max() < 0.005


def test_images_normalised_twice_are_what_the_authors_feed():
    once, twice = small().eval(), small(twice_normalised=True).eval()
    twice.load_state_dict(once.state_dict())
    x = torch.rand(2, 3, 64, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    fed = 0.5 * ((x - mean) / std + 1)  # the second normalisation takes the first's for an image in [−1, 1]
    assert torch.allclose(twice.encode(x).mean, once.encode(fed).mean, atol=1e-5)


def test_a_description_builds_the_same_again():
    model = small(twice_normalised=True)
    again = rebuild(describe(model))
    assert again.config == model.config
    again.load_state_dict(model.state_dict())
    with pytest.raises(ArtefactError, match=r"ConvAutoencoder or BigAutoencoder.*Mine"):
        rebuild({"class": "Mine"})


@pytest.mark.parametrize(
    ("options", "message"),
    [((100, 128), "32 or 64 or 128"), ((128, 5), "latent_dim ≥ 6"), ((64, 64, 8, "vgg16"), "ResNet")],
)
def test_what_it_cannot_build_is_told(options, message):
    with pytest.raises(SettingsError, match=message):
        BigAutoencoder(*options)

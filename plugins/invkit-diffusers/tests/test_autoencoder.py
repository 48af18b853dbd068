"""Codes and images against diffusers' own calls; what a network must be; and a whole explanation."""

import math
from dataclasses import replace

import invkit_diffusers
import pluggy
import pytest
import torch
from invkit_diffusers.autoencoder import DiffusersAutoencoder
from invkit_diffusers.codebook import neighbour_distance

import invkit
from invkit.errors import DataError, SettingsError
from invkit.interpretees import ModuleInterpretee
from invkit.plugins import hookspecs
from invkit.settings import Settings
from invkit.testing import check_autoencoder

CLASSES = ["AutoencoderKL", "AutoencoderTiny", "VQModel"]


@pytest.fixture(params=CLASSES)
def autoencoder(request, build):
    return DiffusersAutoencoder(build(request.param), 16)


def images(count, size):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_it_conforms(autoencoder):
    check_autoencoder(autoencoder)


def test_the_hooks_are_those_that_invkit_knows():
    manager = pluggy.PluginManager("invkit")
    manager.add_hookspecs(hookspecs)
    manager.register(invkit_diffusers)
    manager.check_pending()
    assert invkit_diffusers.INVKIT_API == hookspecs.API_VERSION
    assert manager.hook.list_autoencoders() == invkit_diffusers.list_autoencoders()


@torch.no_grad()
@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ({}, lambda m, s: (m * 0.18215, s * 0.18215)),
        ({"scaling_factor": 0.5, "shift_factor": 0.1}, lambda m, s: ((m - 0.1) * 0.5, s * 0.5)),
        (
            {"scaling_factor": 0.5, "latents_mean": [0.0, 1.0, 2.0, 3.0], "latents_std": [1.0, 2.0, 4.0, 8.0]},
            lambda m, s: (
                (m - torch.arange(4.0)[:, None, None]) * 0.5 / 2 ** torch.arange(4.0)[:, None, None],
                s * 0.5 / 2 ** torch.arange(4.0)[:, None, None],
            ),
        ),
    ],
)
def test_codes_of_kl_are_its_distribution_scaled(build, factors, expected):
    network = build("AutoencoderKL", **factors)
    autoencoder, x = DiffusersAutoencoder(network, 16), images(3, 16)
    own, found = network.encode(2 * x - 1).latent_dist, autoencoder.encode(x)
    mean, std = expected(own.mean, own.std)
    torch.testing.assert_close(found.mean, mean)
    torch.testing.assert_close(found.std, std)
    torch.testing.assert_close(autoencoder.decode(found.mean), in_0_to_1(network.decode(own.mean).sample))


def in_0_to_1(raw):
    return ((raw + 1) / 2).clamp(0, 1)


@torch.no_grad()
def test_codes_of_tiny_deviate_as_its_rounding_does(build):
    network = build("AutoencoderTiny", latent_magnitude=2)
    autoencoder, x = DiffusersAutoencoder(network, 64), images(8, 64)
    found, latents = autoencoder.encode(x), network.encode(2 * x - 1).latents
    torch.testing.assert_close(found.mean, latents)
    rounded = network.unscale_latents(network.scale_latents(latents).mul(255).round().div(255))
    torch.testing.assert_close(found.std.mean(), (rounded - latents).square().mean().sqrt(), rtol=0.03, atol=0)
    torch.testing.assert_close(autoencoder.decode(rounded), in_0_to_1(network(2 * x - 1).sample))


@torch.no_grad()
def test_tiny_takes_images_from_minus_1_to_1_as_the_others_do(build):
    network, x = build("AutoencoderTiny"), images(2, 16)
    own = network.encoder.layers(x)  # the layers of TAESD, which take images in [0, 1]
    torch.testing.assert_close(DiffusersAutoencoder(network, 16).encode(x).mean, own)


@torch.no_grad()
def test_codes_of_vq_are_not_quantised_and_its_images_are(build):
    network = build("VQModel", vq_embed_dim=5)
    autoencoder, x = DiffusersAutoencoder(network, 16), images(3, 16)
    assert autoencoder.latent_shape == (5, 8, 8)
    found = autoencoder.encode(x)
    torch.testing.assert_close(found.mean, network.quant_conv(network.encoder(2 * x - 1)))
    torch.testing.assert_close(autoencoder.decode(found.mean), in_0_to_1(network(2 * x - 1).sample))
    quantised = network.quantize(found.mean)[0]
    torch.testing.assert_close(autoencoder.decode(found.mean), autoencoder.decode(quantised), atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("entries", [64, 2048])
def test_most_draws_of_vq_keep_their_entry(build, entries):
    network = build("VQModel", num_vq_embeddings=entries)
    posterior = DiffusersAutoencoder(network, 64).encode(images(8, 64))
    number = lambda codes: network.quantize(codes)[2][2]  # noqa: E731
    kept = (number(posterior.sample(torch.Generator().manual_seed(0))) == number(posterior.mean)).float().mean()
    print(f"{entries} entries: {1 - kept:.1%} of the positions change theirs")
    assert kept > 0.92


def test_distance_to_the_nearest_other_entry_on_a_line():
    codebook = torch.tensor([[0.0], [1.0], [4.0], [4.0], [1000.0], [1000.25]])
    found = neighbour_distance(codebook, torch.tensor([4, 0, 2, 3, 1, 0]))
    assert found.tolist() == [0.25, 1, 3, 3, 1, 1]


@pytest.mark.parametrize(("size", "stages"), [(16, 1), (48, 2), (72, 4)])
@pytest.mark.parametrize("class_name", CLASSES)
def test_codes_are_halved_as_often_as_there_are_stages_but_one(class_name, size, stages, build):
    autoencoder = DiffusersAutoencoder(build(class_name, stages), size)
    side = size // 2 ** (stages - 1)
    assert autoencoder.latent_shape[1:] == (side, side)
    with torch.no_grad():
        code = autoencoder.encode(images(1, size)).mean
        assert code.shape[1:] == autoencoder.latent_shape
        assert autoencoder.decode(code).shape == (1, 3, size, size)


@torch.no_grad()
def test_training_mode_and_a_large_batch_change_nothing(autoencoder, monkeypatch):
    x = images(5, 16)
    before = autoencoder.eval().encode(x)
    decoded = autoencoder.decode(before.mean)
    monkeypatch.setattr("invkit_diffusers.autoencoder._PIXELS", 2 * 16**2)
    after = autoencoder.train().encode(x)
    torch.testing.assert_close(after.mean, before.mean, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(after.std, before.std, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(autoencoder.decode(before.mean), decoded, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("class_name", ["AutoencoderKL", "AutoencoderTiny"])
def test_a_network_in_half_precision_gives_float32(class_name, build):
    network, x = build(class_name), images(2, 16)
    whole = DiffusersAutoencoder(network, 16).encode(x)
    half = DiffusersAutoencoder(network.to(torch.bfloat16), 16)
    posterior = half.encode(x)
    assert posterior.mean.dtype == posterior.std.dtype == half.decode(posterior.mean).dtype == torch.float32
    torch.testing.assert_close(posterior.mean, whole.mean, atol=0.05, rtol=0.05)


def test_a_live_network_is_used_as_it_is(build):
    network = build("AutoencoderTiny")
    autoencoder = DiffusersAutoencoder(network, image_size=64)
    assert autoencoder.network is network
    assert autoencoder.latent_shape == (4, 32, 32)


def test_gradients_pass_the_quantisation(build):
    autoencoder = DiffusersAutoencoder(build("VQModel"), 16)
    codes = torch.randn(1, 3, 8, 8, requires_grad=True)
    autoencoder.decode(codes).sum().backward()
    assert (codes.grad != 0).float().mean() > 0.9


def test_sides_that_cannot_be_halved_are_refused(build):
    network = build("AutoencoderKL")
    for size in (0, 15):
        with pytest.raises(SettingsError, match=r"multiple of 2, for instance .*Got: \d+ px"):
            DiffusersAutoencoder(network, size)


def test_networks_of_another_kind_are_refused(build):
    with pytest.raises(SettingsError, match=r"no autoencoder that is known here.*Got: Linear"):
        DiffusersAutoencoder(torch.nn.Linear(1, 1), 16)
    with pytest.raises(SettingsError, match=r"of no autoencoder.*Got: UNet2DModel"):
        DiffusersAutoencoder({"_class_name": "UNet2DModel"}, 16)
    with pytest.raises(SettingsError, match="not of RGB images"):
        DiffusersAutoencoder(build("AutoencoderKL", in_channels=1), 16)
    with pytest.raises(SettingsError, match="factor of 2 down and of 3 up"):
        DiffusersAutoencoder(build("AutoencoderTiny", upsampling_scaling_factor=3), 16)


def test_images_and_codes_of_another_shape_are_refused(autoencoder):
    with pytest.raises(DataError, match="no images of this autoencoder"):
        autoencoder.encode(images(1, 18))
    with pytest.raises(DataError, match="no codes of this autoencoder"):
        autoencoder.decode(torch.zeros(1, math.prod(autoencoder.latent_shape)))


@pytest.mark.parametrize(("class_name", "size"), [("AutoencoderKL", 32), ("AutoencoderTiny", 48), ("VQModel", 32)])
def test_a_network_is_explained_through_it(class_name, size, build, tmp_path):
    autoencoder = DiffusersAutoencoder(build(class_name, stages=4, latent_channels=2), size)
    network = torch.nn.Sequential(torch.nn.AvgPool2d(size // 2), torch.nn.Flatten())
    interpretee = ModuleInterpretee(network, invkit.Preprocess())
    bright = torch.arange(80) % 2
    x = (images(80, size) + bright[:, None, None, None]) / 2
    tiny = Settings.tiny()
    flow = replace(tiny.t, map_width=8)
    found = invkit.explain(
        interpretee,
        "1",
        x,
        concepts={"bright": bright},
        size=size,
        autoencoder=autoencoder,
        settings=replace(tiny, t=flow, e=flow),
    )
    assert found.t.dim == math.prod(autoencoder.latent_shape)
    assert found.sample(x[:2], 3).shape == (2, 3, 3, size, size)
    assert found.modify(x[:2], bright=x[:1]).shape == (2, 3, size, size)
    again = invkit.Explanation.load(found.save(tmp_path / "saved"), interpretee, autoencoder=autoencoder)
    torch.testing.assert_close(again.sample(x[:2], 3), found.sample(x[:2], 3))

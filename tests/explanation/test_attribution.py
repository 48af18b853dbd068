"""Attributions and spreads against closed forms, captum, and a hand-made layer."""

import sys

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import nn

import invkit
from invkit.core import Autoencoder, Embedder, FlowBlock, Posterior, Transformed
from invkit.data import ImageSet
from invkit.errors import ArtefactError, DataError, LayerError, PluginError, SettingsError
from invkit.explanation import Explanation, HeldOut
from invkit.flows import InvarianceFlow, SemanticFlow
from invkit.interpretees import ModuleInterpretee

SIZE, DIM, FACTOR = 8, 3 * 8 * 8, 6
KEPT, FREE = 0.01, 0.2  # standard deviations that t gives pixels of the left and the right half
IG, OCCLUSION = "integrated gradients", "occlusion"


class Pixels(Autoencoder):
    """An autoencoder whose code, a map, is the image; in training mode it drops half of it."""

    def __init__(self, has_encoder=True):
        super().__init__()
        self.image_size, self.latent_shape, self.config, self.has_encoder = SIZE, (3, SIZE, SIZE), {}, has_encoder
        self.gain, self.drop = nn.Parameter(torch.ones(())), nn.Dropout(0.5)

    def encode(self, images):
        return Posterior(self.drop(images * self.gain), torch.full_like(images, 1e-6))

    def decode(self, latents):
        return self.drop(latents * self.gain)


class Rotation(FlowBlock):
    """y = x Q."""

    def __init__(self):
        super().__init__()
        self.config = {"dim": DIM}
        generator = torch.Generator().manual_seed(1)
        self.register_buffer("q", torch.linalg.qr(torch.randn(DIM, DIM, generator=generator))[0])
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x, condition=None):
        return Transformed(x @ self.q * self.scale, x.new_zeros(len(x)))

    def inverse(self, y, condition=None):
        return Transformed(y / self.scale @ self.q.T, y.new_zeros(len(y)))


class LeftIsKnown(FlowBlock):
    """z̄ is normal: the left half around the layer's representation, the right one around grey."""

    def __init__(self):
        super().__init__()
        self.config = {"dim": DIM}

    def _moments(self, condition):
        mean = torch.full((len(condition), 3, SIZE, SIZE), 0.5)
        mean[..., :4] = condition.unflatten(1, (3, SIZE, 4))
        std = torch.full((3, SIZE, SIZE), FREE)
        std[..., :4] = KEPT
        return mean.flatten(1), std.flatten()

    def forward(self, x, condition=None):
        mean, std = self._moments(condition)
        return Transformed((x - mean) / std, -std.log().sum().expand(len(x)))

    def inverse(self, y, condition=None):
        mean, std = self._moments(condition)
        return Transformed(mean + std * y, std.log().sum().expand(len(y)))


class Flat(Embedder):
    def __init__(self):
        super().__init__()
        self.config, self.condition_dim = {"shape": [DIM // 2]}, DIM // 2

    def forward(self, z):
        return z


class LeftHalf(nn.Module):
    def forward(self, x):
        return x[..., :4].flatten(1)


class Square(nn.Module):
    def forward(self, x):
        return x.square()


@pytest.fixture
def data():
    return ImageSet(torch.rand(40, 3, SIZE, SIZE))


@pytest.fixture
def toy(data):
    """Return an explanation of a network that uses the left half only, with known t, e, E and D."""
    network = nn.Sequential(LeftHalf(), Square(), nn.Dropout(0.5), nn.Linear(DIM // 2, 5))
    e = SemanticFlow([Rotation()], {"residual": DIM - FACTOR, "shape": FACTOR})
    interpretee = ModuleInterpretee(network)
    held_out = HeldOut(data, interpretee.represent(data.images(), ["0"])["0"])
    t = InvarianceFlow([LeftIsKnown()], Flat())
    return Explanation("0", Pixels(), t, e, held_out, interpretee=interpretee)


@pytest.fixture(scope="module")
def trained(digits, tiny):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 5, 2), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3, 2), nn.ReLU(inplace=True)
    )
    return invkit.explain(ModuleInterpretee(model), "4", digits, settings=tiny)


def linear_attribution(matrix, x, b):
    """Of s(x′) = ⟨M (x′ − b), M (x − b)⟩ / ‖M (x − b)‖: (x − b) times the gradient, summed over channels."""
    way = (x - b).flatten(1)
    along = way @ matrix
    return (way * (along @ matrix.T) / along.norm(dim=1, keepdim=True)).unflatten(1, (3, SIZE, SIZE)).sum(1)


def test_attributions_of_a_linear_factor_equal_the_closed_form(toy, data):
    x, b = data.images(slice(3)), torch.rand(3, SIZE, SIZE)
    found = toy.attribute(x, concept="shape", baseline=b, n=2)
    matrix = toy.e.blocks.blocks[0].q[:, toy.e.slices["shape"]]
    expected = linear_attribution(matrix, x, b)
    torch.testing.assert_close(found.maps[IG], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.distance, ((x - b).flatten(1) @ matrix).norm(dim=1))
    windows = nn.functional.avg_pool2d(expected, 2, 1) * 4  # 2 px wide, 1 px apart; what a window loses is its sum
    sums = nn.functional.conv_transpose2d(windows[:, None], torch.ones(1, 1, 2, 2))[:, 0]
    covered = nn.functional.conv_transpose2d(torch.ones(1, 1, 7, 7), torch.ones(1, 1, 2, 2))[0]
    torch.testing.assert_close(found.maps[OCCLUSION], sums / covered, atol=1e-5, rtol=1e-4)


def test_attributions_locate_the_half_that_the_layer_uses(toy, data):
    found = toy.attribute(data.images(slice(3)), n=400)
    for values in found.maps.values():
        assert values[..., :4].abs().min() > 0
    assert not found.maps[IG][..., 4:].any()
    assert found.maps[OCCLUSION][..., 5:].abs().max() < 1e-6  # windows of 2 px reach one column beyond
    (spread,) = found.spreads.values()
    assert spread.shape == (3, SIZE, SIZE)
    torch.testing.assert_close(spread[..., :4], torch.full((3, SIZE, 4), KEPT), rtol=0.15, atol=0)
    torch.testing.assert_close(spread[..., 4:], torch.full((3, SIZE, 4), FREE), rtol=0.15, atol=0)


def test_spread_of_a_concept_equals_that_of_its_factor(toy, data):
    """n is more than there are held-out images: each is a donor once, so that the mean is over all of them."""
    found = toy.attribute(data.images(slice(2)), concept="shape", methods=(), n=1000)
    matrix = toy.e.blocks.blocks[0].q[:, toy.e.slices["shape"]]
    moved = data.images().flatten(1) @ matrix @ matrix.T  # the part of each pixel that the factor decides
    expected = moved.var(0).unflatten(0, (3, SIZE, SIZE)).mean(0).sqrt()
    assert list(found.spreads) == ["moves with 'shape' alone", "left open by '0'"]
    assert not found.maps
    for spread in found.spreads["moves with 'shape' alone"]:
        torch.testing.assert_close(spread, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("what", [{"concept": "digit"}, {"layer": "1"}, {}])
def test_integrated_gradients_sum_to_the_distance_from_the_baseline(trained, what):
    found = trained.attribute(trained.held_out.data.images(slice(4)), n=2, methods=(IG,), **what)
    assert found.maps[IG].abs().amax((1, 2)).min() > 0
    assert (found.maps[IG].sum((1, 2)) - found.distance).abs().max() < 0.003 * found.distance.mean()


def test_attributions_equal_captum_on_the_bare_network(trained):
    """Compare with captum on ⟨Φ(x′), d⟩ without the constant, which does not affect attributions."""
    x = trained.held_out.data.images(slice(1))
    found = trained.attribute(x, n=2, methods=(IG,))
    model, b = trained.interpretee.module.eval(), found.baseline
    torch.testing.assert_close(b, trained.held_out.data.images().mean(0, keepdim=True))
    with torch.no_grad():
        along = (model(x) - model(b)).flatten()
    expected = IntegratedGradients(lambda y: model(y).flatten(1) @ along / along.norm())
    torch.testing.assert_close(
        found.maps[IG], expected.attribute(x, b, n_steps=128).detach().sum(1), atol=1e-5, rtol=1e-3
    )
    torch.testing.assert_close(found.distance, along.norm()[None])


def test_spread_of_the_layer_equals_that_of_its_samples(trained):
    x = trained.held_out.data.images(slice(2))
    found = trained.attribute(x, methods=(), n=5, seed=3)
    expected = trained.sample(x, 5, seed=3).var(1).mean(1).sqrt()
    torch.testing.assert_close(found.spreads["left open by '4'"], expected)


def test_attributions_of_the_baseline_are_zero(toy, data):
    found = toy.attribute(data.images(slice(1)), concept="shape", baseline=data.images(slice(1)), n=2)
    assert not any(values.any() for values in found.maps.values())
    assert found.distance == 0


def test_attribution_restores_the_modules(toy, data):
    parts = [toy.autoencoder, toy.e, toy.interpretee.module]
    for part in parts:
        part.eval()
    before = toy.attribute(data.images(slice(2)), concept="shape", n=3)
    parts[0].train(), parts[1].train(), parts[2][2].train()
    toy.e.blocks.blocks[0].scale.requires_grad_(False)
    modes = [module.training for part in parts for module in part.modules()]
    learned = [parameter.requires_grad for part in parts for parameter in part.parameters()]
    random = torch.get_rng_state()
    images = data.images(slice(2)).requires_grad_()
    found = [toy.attribute(images, n=3, **what) for what in ({"concept": "shape"}, {})]
    assert [module.training for part in parts for module in part.modules()] == modes
    assert [parameter.requires_grad for part in parts for parameter in part.parameters()] == learned
    assert all(parameter.grad is None for part in parts for parameter in part.parameters())
    assert not any(module._forward_hooks for part in parts for module in part.modules())
    assert images.grad is None
    assert torch.equal(images.detach(), data.images(slice(2)))
    assert torch.equal(torch.get_rng_state(), random)
    for kind in ("maps", "spreads"):
        for name, values in getattr(before, kind).items():
            assert torch.equal(values, getattr(found[0], kind)[name])
            assert not values.requires_grad


def test_plot_has_a_row_per_image_and_a_colour_bar_per_map(toy, data, tmp_path):
    figure = toy.attribute(data.images(slice(3)), concept="shape", n=4).plot()
    titles = [ax.get_title().replace("\n", " ") for ax in figure.axes if ax.get_title()]
    assert titles == [
        "x",
        "integrated gradients of the factor 'shape'",
        "occlusion of the factor 'shape'",
        "moves with 'shape' alone",
        "left open by '0'",
    ]
    assert [ax.get_xlabel() for ax in figure.axes if ax.get_xlabel()] == ["distance from baseline to x"] * 2 + [
        "std of intensity"
    ] * 2
    (caption,) = [text.get_text().replace("\n", " ") for text in figure.texts]
    assert "sum to the distance" in caption
    assert "the layer fixes the pixel" in caption
    figure.savefig(tmp_path / "figure.png")


def test_without_the_model_a_concept_can_be_attributed_and_a_layer_cannot(toy, data):
    toy.interpretee = None
    found = toy.attribute(data.images(slice(1)), concept="shape", n=2)
    assert list(found.spreads) == ["moves with 'shape' alone"]
    with pytest.raises(ArtefactError, match="loaded without its model"):
        toy.attribute(data.images(slice(1)))


@pytest.mark.parametrize(
    ("error", "message", "what"),
    [
        (SettingsError, "No concept 'colour' in this explanation. Expected: shape", {"concept": "colour"}),
        (SettingsError, "Either a concept or a layer", {"concept": "shape", "layer": "1"}),
        (SettingsError, "Expected: methods among integrated gradients, occlusion", {"methods": ["saliency"]}),
        (SettingsError, "n = 1", {"n": 1}),
        (LayerError, "No layer 'nowhere'", {"layer": "nowhere"}),
        (DataError, "Not a batch of images", {"images": torch.rand(2, 1, SIZE, SIZE)}),
        (DataError, "Not a batch of images", {"images": torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8)}),
        (DataError, "Not a batch of images", {"baseline": torch.rand(SIZE, SIZE)}),
        (DataError, "There are no images", {"images": torch.rand(0, 3, SIZE, SIZE)}),
        (DataError, "The baseline does not match the images", {"baseline": torch.rand(3, 3, SIZE, SIZE)}),
    ],
)
def test_invalid_arguments_raise(toy, data, error, message, what):
    images = what.pop("images", data.images(slice(2)))
    with pytest.raises(error, match=message):
        toy.attribute(images, **what)


def test_a_concept_needs_an_encoder_and_a_layer_does_not(toy, data):
    toy.autoencoder = Pixels(has_encoder=False)
    assert toy.attribute(data.images(slice(1)), n=2).maps
    with pytest.raises(SettingsError, match="Expected: an autoencoder with an encoder"):
        toy.attribute(data.images(slice(1)), concept="shape")


def test_own_maps_do_not_need_captum(toy, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "captum", None)
    assert toy.attribute(data.images(slice(1)), methods=(), n=2).spreads
    with pytest.raises(PluginError, match="pip install captum"):
        toy.attribute(data.images(slice(1)))

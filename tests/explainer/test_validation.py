"""Inputs are checked before any training, and each problem is reported with its cause."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import invkit
from invkit.data import Concept, ImageSet, as_concept
from invkit.errors import ArtefactError, DataError, LayerError, SettingsError
from invkit.explainer.validation import with_residual

pytestmark = pytest.mark.filterwarnings("ignore:Unknown preprocessing")


def quantities(n, rows):
    return {f"q{k}": as_concept("q", torch.rand(rows)) for k in range(n)}


def shapes(names, rows=100):
    return Concept("class", torch.arange(rows) % 2, tuple(names))


@pytest.mark.parametrize(
    ("rows", "concepts", "sizes", "held_out", "error", "words"),
    [
        (10, 0, None, None, DataError, "Too few images"),
        (100, 12, None, None, SettingsError, "Give fewer concepts"),
        (100, 2, {"q0": 12}, None, SettingsError, "Give smaller"),
        (100, 0, None, ImageSet(torch.rand(9, 3, 28, 28), quantities(1, 9)), DataError, "other concepts"),
    ],
)
def test_unusable_data_are_reported_before_any_training(
    no_training, network, tiny, rows, concepts, sizes, held_out, error, words
):
    data = ImageSet(torch.rand(rows, 3, 28, 28), quantities(concepts, rows))
    with pytest.raises(error, match=words):
        invkit.explain(network, "2", data, held_out=held_out, settings=replace(tiny, factor_sizes=sizes))


def test_of_more_concepts_than_fit_those_with_sizes_are_trained(network, tiny):
    data = ImageSet(torch.rand(100, 3, 28, 28), quantities(12, 100))
    found = invkit.explain(network, "4", data, settings=replace(tiny, factor_sizes={"q0": 1, "q7": 2}))
    assert found.e.factors == {"residual": 9, "q0": 1, "q7": 2}


def test_an_explainer_refuses_what_it_cannot_use(tiny):
    pixels = torch.rand(100, 3, 28, 28)
    images, other = (ImageSet(pixels, {"shape": shapes(names)}) for names in (["disc", "ring"], ["disc", "star"]))
    groups = ImageSet(pixels, groups=torch.arange(100).clamp(max=2))
    twelve = ImageSet(pixels, quantities(12, 100))

    def sized(**sizes):
        return replace(tiny, factor_sizes=sizes)

    for data, held_out, settings, error, words in (
        (images.take(torch.arange(30)), None, tiny, DataError, "Too few images"),
        (groups, None, tiny, DataError, "Got: 2 and 98|Got: 99 and 1"),
        (images, other, tiny, DataError, "classes of 'shape' that no training image has"),
        (images, ImageSet(pixels), tiny, DataError, "other concepts"),
        (images, None, sized(shape=2, residual=3), SettingsError, "12 with the residual"),
        (images, None, sized(shape=12), SettingsError, "smaller `factor_sizes`"),
        (twelve, None, tiny, SettingsError, "Give fewer concepts"),
    ):
        with pytest.raises(error, match=words):
            invkit.Explainer(data, held_out=held_out, settings=settings)
    invkit.Explainer(images, held_out=images, settings=sized(shape=2, residual=10))
    invkit.Explainer(twelve, settings=sized(q0=1, q3=2))


def test_the_residual_fills_what_the_others_leave():
    assert [*with_residual({"a": 2, "b": 3}, 9).items()] == [("residual", 4), ("a", 2), ("b", 3)]
    assert with_residual({"a": 2, "residual": 7}, 9) == {"residual": 7, "a": 2}


def test_too_little_disk_space_is_reported_before_any_training(
    no_training, network, digits, tiny, tmp_path, monkeypatch
):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(ArtefactError, match="latents"):
        invkit.explain(network, "2", digits, settings=tiny, cache=tmp_path)


class Fixed(nn.Module):
    """Take images of one side only."""

    def __init__(self, side):
        super().__init__()
        self.layer = nn.Linear(3 * side * side, 4)

    def forward(self, x):
        return self.layer(x.flatten(1))


def side_of(model, layer, **arguments):
    """Return the size of the images that a model is explained on by default."""
    sides = []

    class StopError(Exception):
        pass

    def explain(self, *_):
        sides.append((self.train.size, len(self.train), len(self.held_out), sorted(self.train.concepts)))
        raise StopError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(invkit.Explainer, "explain", explain)
        with pytest.raises(StopError):
            invkit.explain(model, layer, **arguments)
    return sides[0]


def test_without_images_color_digits_come_at_the_size_that_the_model_takes(network, capsys, monkeypatch):
    concepts = ["background", "digit", "foreground"]
    assert side_of(network, "2") == (28, 1437 * 20, 360 * 4, concepts)
    assert "no images given: explaining on the built-in ColorDigits, 30,180 images of 28 px" in capsys.readouterr().err
    monkeypatch.setattr("invkit.explainer.validation._COPIES", 1)  # the others in less time
    assert side_of(Fixed(32), "layer")[0] == 32
    assert side_of(Fixed(64), "layer")[0] == 64
    large = invkit.Preprocess(size=96)
    assert side_of(Fixed(96), "layer", preprocess=large)[:2] == (28, 1437 * 4)
    with pytest.raises(LayerError, match=r"does not take images of the built-in ColorDigits.*28, 32, 64 px"):
        invkit.explain(Fixed(50), "layer")


def test_without_images_a_generator_is_explained_on_its_own(network, tiny):
    class Generator(invkit.Autoencoder):
        image_size, latent_shape, has_encoder, config = 28, (12,), False, {}

        def encode(self, images):
            raise LayerError("no encoder")

        def decode(self, latents):
            return latents[:, :3, None, None].sigmoid().expand(-1, -1, 28, 28)

    assert side_of(network, "2", autoencoder=Generator(), settings=tiny)[:2] == (28, 17_000)


def test_arguments_beside_an_explainer_are_refused(network, digits, tiny):
    explainer = invkit.Explainer(digits, settings=tiny)
    with pytest.raises(TypeError, match="decided when the Explainer was made: seed"):
        invkit.explain(network, "2", explainer, seed=1)
    with pytest.raises(TypeError, match="concept"):
        invkit.explain(network, "2", digits, concept="digit")

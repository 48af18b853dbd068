import importlib
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from invkit.autoencoders import ConvAutoencoder
from invkit.data import Concept, Generated, ImageSet
from invkit.errors import DataError, SettingsError
from invkit.explainer import Explainer
from invkit.interpretees import ModuleInterpretee
from invkit.studies.study import shows
from invkit.studies.stylise import cue_conflict
from invkit.studies.texture import texture


class Colour(nn.Module):
    """Sees the mean colour of the image alone."""

    def __init__(self):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        return self.pool(x).flatten(1)


class Place(nn.Module):
    """Sees where an image is brighter than its mean, whatever its colour."""

    def __init__(self):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(4)

    def forward(self, x):
        grey = x.mean(1, keepdim=True)
        return F.normalize(self.pool(grey - grey.mean((2, 3), keepdim=True)).flatten(1))


def squares(n=400, seed=0):
    """Two places times two colours, drawn independently."""
    generator = torch.Generator().manual_seed(seed)
    place, colour = torch.randint(2, (2, n), generator=generator)
    pixels = 0.1 * torch.rand(n, 3, 28, 28, generator=generator)
    pixels[colour == 0, 0] += 0.6
    pixels[colour == 1, 2] += 0.6
    pixels[place == 0, :, 8:20, 2:12] += 0.3
    pixels[place == 1, :, 8:20, 16:26] += 0.3
    concepts = {"shape": Concept("class", place, ("left", "right")),
                "texture": Concept("class", colour, ("red", "blue"))}  # fmt: skip
    return ImageSet((pixels * 255).byte(), concepts)


@pytest.fixture(scope="module")
def explainer(tiny):
    return Explainer(squares(), settings=tiny).fit(strict=True)


def test_the_headline_is_the_difference_of_the_differences(explainer, tmp_path):
    models = {"plain": ModuleInterpretee(Colour()), "stylised": ModuleInterpretee(Place())}
    study = texture(explainer, models, "pool")
    own = {name: study.metrics[name]["pool"]["concepts"] for name in models}
    expected = [own[name]["shape"]["value"] - own[name]["texture"]["value"] for name in ("stylised", "plain")]
    difference = study.headline["stylised − plain (eq. 20)"]
    assert difference.value == pytest.approx(expected[0] - expected[1])
    assert study.holds is shows(difference)
    assert "data:image/png" in study.to_html(tmp_path / "page.html").read_text()


def test_the_probe_finds_texture_in_one_network_and_shape_in_the_other(explainer):
    models = {"colour": ModuleInterpretee(Colour()), "place": ModuleInterpretee(Place())}
    study = texture(explainer, models, "output")
    assert study.headline["shape − texture, colour (probe)"].value < -0.5
    assert study.headline["shape − texture, place (probe)"].value > 0.5


def test_cue_conflicts_of_training_and_held_out_images_are_separate(tiny, monkeypatch):
    module = importlib.import_module("invkit.studies.texture")
    data = squares()
    data = ImageSet(data.pixels, {"class": data.concepts["shape"]})
    used, explain_layers = [], module.explain_layers
    monkeypatch.setattr(module, "explain_layers", lambda *given: used.append(given[0]) or explain_layers(*given))
    models = {"a": ModuleInterpretee(Colour()), "b": ModuleInterpretee(Place())}
    study = texture(Explainer(data, settings=tiny), models, "pool", cues="class")
    train, test = data.split(tiny.held_out_fraction, 0)
    assert len(used) == 2
    assert used[0] is used[1]
    assert torch.equal(used[0].train.pixels, cue_conflict(train, 0).pixels)
    assert torch.equal(used[0].held_out.pixels, cue_conflict(test, 1).pixels)
    assert set(study.metrics["a"]["pool"]["concepts"]) == {"residual", "shape", "texture"}


def test_images_of_a_decoder_need_no_concepts(tiny, tmp_path):
    torch.manual_seed(0)
    autoencoder = ConvAutoencoder(28, 12, 8).eval()
    data = ImageSet(Generated(autoencoder, torch.randn(200, 12)))
    probes = squares(3)
    models = {"plain": ModuleInterpretee(Colour()), "stylised": ModuleInterpretee(Place())}
    study = texture(Explainer(data, settings=tiny), models, "pool", probes=probes)
    assert study.holds is None
    assert list(study.headline) == ["invariance at the last layer, plain", "invariance at the last layer, stylised"]
    assert "Samples for other images" in study.to_html(tmp_path / "page.html").read_text()


@pytest.mark.usefixtures("no_training")
def test_what_cannot_be_compared_raises_before_any_training(tiny):
    data = squares()
    explainer = Explainer(data, settings=tiny)
    one = {"plain": ModuleInterpretee(Colour())}
    with pytest.raises(SettingsError, match="Two networks"):
        texture(explainer, one, "pool")
    two = {**one, "stylised": ModuleInterpretee(Place())}
    with pytest.raises(DataError, match="no concept 'outline'"):
        texture(explainer, two, "pool", concepts=("outline", "texture"))
    with pytest.raises(DataError, match="no concept 'shape' and 'texture'"):
        texture(Explainer(ImageSet(data.pixels), settings=tiny), two, "pool")
    with pytest.raises(DataError, match="Cue conflicts can only be made"):
        texture(explainer, two, "pool", cues="class")


@pytest.fixture
def cheap(quick):
    """Smaller networks and batches, for images of two places and two colours: results are tens of errors from 0."""
    flow, images = replace(quick.t, n_flow=4, width=128), quick.autoencoder
    images = replace(images, width=16, fit=replace(images.fit, steps=200, evaluate_every=100))
    fits = {name: replace(getattr(quick, name), batch_size=128) for name in ("fit_t", "fit_anchors", "fit_e")}
    return replace(quick, autoencoder=images, t=flow, e=flow, **fits)


@pytest.mark.slow
def test_the_verdict_holds_for_a_twin_that_sees_places_and_fails_for_one_that_sees_colours(cheap, tmp_path):
    colour, place = ModuleInterpretee(Colour()), ModuleInterpretee(Place())
    explainer = Explainer(squares(1000), settings=cheap, cache=tmp_path)
    found = texture(explainer, {"plain": colour, "stylised": place}, "pool")
    assert found.holds
    assert texture(explainer, {"plain": place, "stylised": colour}, "pool").holds is False
    assert found.headline["shape − texture, plain (determined)"].value < -0.3
    assert found.headline["shape − texture, stylised (determined)"].value > 0.3

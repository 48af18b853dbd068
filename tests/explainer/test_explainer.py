"""What explanations share: one Explainer trains it once, names its files by content, and is saved with all of it."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import invkit
from invkit.data import Concept, ImageSet
from invkit.errors import ArtefactError, DataError
from invkit.explainer import explainer as module
from invkit.training import loop

pytestmark = pytest.mark.filterwarnings("ignore:Unknown preprocessing")


def shapes(names, rows=100):
    return Concept("class", torch.arange(rows) % 2, tuple(names))


@pytest.fixture(scope="module")
def pixels():
    return torch.rand(100, 3, 28, 28)


@pytest.fixture(scope="module")
def fitted(digits, tiny):
    return invkit.Explainer(digits, settings=tiny).fit()


@pytest.fixture
def trained(monkeypatch):
    """Titles of all trainings, in order."""
    titles = []
    whole = loop._train

    def noted(task, *args):
        titles.append(task.title)
        return whole(task, *args)

    monkeypatch.setattr(loop, "_train", noted)
    return titles


def test_a_second_model_trains_its_own_flow_alone(network, digits, tiny, trained, monkeypatch):
    encoded = []
    codes = module.latent_codes
    monkeypatch.setattr(module, "latent_codes", lambda *a: encoded.append(1) or codes(*a))
    explainer = invkit.Explainer(digits, settings=tiny)
    assert not explainer.is_fitted
    explainer.explain(network, "2")
    shared = ["autoencoder", "z̄ alone", "e, towards its concepts", "e"]
    assert trained == [*shared, "t of 2"]
    assert explainer.is_fitted
    explainer.explain(nn.Sequential(nn.Conv2d(3, 2, 5), nn.Flatten(), nn.Linear(1152, 4)), "2")
    assert trained == [*shared, "t of 2", "t of 2"]
    assert len(encoded) == 2  # training and held-out images, once


def test_it_explains_as_the_one_liner_does(fitted, network, digits, tiny):
    assert fitted.explain(network, "2").metrics == invkit.explain(network, "2", digits, settings=tiny).metrics
    profile = fitted.profile(network, ["2", "4"])
    assert profile["2"].metrics == fitted.explain(network, "2").metrics
    assert invkit.explain(network, "4", fitted).metrics == profile["4"].metrics


def test_fitting_again_changes_nothing(fitted, trained):
    assert fitted.fit() is fitted
    assert trained == []


def test_its_repr_is_one_line(fitted, digits, tiny):
    assert repr(fitted) == ("Explainer(255 + 45 images of 28 px, concepts digit, foreground, background; fitted)")
    assert "not fitted" in repr(invkit.Explainer(digits, settings=tiny))


def test_it_shows_itself_in_a_notebook(fitted, digits, tiny):
    assert "data:image/png;base64" in fitted._repr_html_()
    named = ImageSet(digits.pixels, {"<b>": digits.concepts["digit"]})
    assert "&lt;b&gt;" in invkit.Explainer(named, settings=tiny)._repr_html_()


def test_what_is_not_trained_yet_is_no_attribute(digits, tiny):
    explainer = invkit.Explainer(digits, settings=tiny)
    with pytest.raises(AttributeError, match=r"no attribute 'codes': it is not fitted, call fit\(\) first"):
        _ = explainer.codes
    with pytest.raises(AttributeError, match=r"no attribute 'code'$"):
        _ = explainer.code


def test_saved_and_loaded_it_explains_another_model_the_same(fitted, network, tmp_path, trained):
    folder = fitted.save(tmp_path / "instrument")
    assert sorted(p.name for p in folder.iterdir()) == ["explainer.json", "images.safetensors", "weights.safetensors"]
    loaded = invkit.Explainer.load(folder)
    assert loaded.explain(network, "4").metrics == fitted.explain(network, "4").metrics
    assert set(trained) == {"t of 4"}
    assert loaded.metrics == fitted.metrics
    assert loaded.autoencoder_settings == fitted.autoencoder_settings
    assert repr(loaded) == repr(fitted)


def test_saved_without_images_it_needs_them_again(fitted, network, tmp_path):
    folder = fitted.save(tmp_path / "instrument", images=False)
    loaded = invkit.Explainer.load(folder)
    with pytest.raises(ArtefactError, match=r"saved without its training images.*load\(folder, images="):
        loaded.explain(network, "4")
    with pytest.raises(DataError, match="not the training images"):
        invkit.Explainer.load(folder, images=torch.rand(9, 3, 28, 28))
    again = invkit.Explainer.load(folder, images=fitted.train)
    assert again.explain(network, "4").metrics == fitted.explain(network, "4").metrics


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("explainer.json", "was changed|not an Explainer"),
        ("weights.safetensors", "damaged"),
        ("images.safetensors", "damaged"),
    ],
)
def test_a_damaged_folder_is_refused(fitted, tmp_path, file, words):
    folder = fitted.save(tmp_path / "instrument")
    path = folder / file
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"seed": 0', b'"seed": 1') if file.endswith("json") else content[:-50])
    with pytest.raises(ArtefactError, match=words):
        invkit.Explainer.load(folder)


def test_a_saved_explainer_goes_where_images_go(fitted, network, tmp_path):
    folder = fitted.save(tmp_path / "instrument")
    assert module.as_explainer(folder).metrics == fitted.metrics
    assert module.as_explainer(fitted) is fitted


def test_with_other_images_it_is_not_fitted(fitted, digits):
    other = fitted.replace(train=digits.take(torch.arange(100)))
    assert not other.is_fitted
    assert (len(other.train), len(fitted.train)) == (100, 255)
    assert fitted.is_fitted


def test_an_interrupted_part_is_trained_again_where_whole_parts_are_needed(digits, tiny, interrupt, trained):
    explainer = invkit.Explainer(digits, settings=tiny)
    interrupt("z̄ alone")
    assert not explainer.fit().complete
    with pytest.raises(KeyboardInterrupt):
        explainer.fit(strict=True)
    interrupt(None)
    assert explainer.fit(strict=True).complete


def test_classes_that_no_image_has_give_another_e(pixels, tiny, tmp_path):
    for names in (["disc", "ring"], ["disc", "ring", "star", "cube", "cone"], ["disc", "ring"]):
        data = ImageSet(pixels, {"shape": shapes(names)})
        invkit.Explainer(data, settings=replace(tiny, factor_sizes={"shape": 2}), cache=tmp_path).fit()
    for kind, number in (("autoencoder", 1), ("t", 1), ("anchors", 2), ("e", 2)):
        assert len(list(tmp_path.glob(f"{kind}-*.safetensors"))) == number, kind


def test_an_explanation_has_the_names_that_classes_have_now(pixels, network, tiny, tmp_path):
    for names in (["disc", "ring"], ["Scheibe", "Ring"]):
        concepts = {"shape": shapes(names)}
        found = invkit.explain(network, "4", pixels, concepts=concepts, settings=tiny, cache=tmp_path)
        assert found.held_out.data.concepts["shape"].names == tuple(names)

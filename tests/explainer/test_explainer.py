"""What all layers share: files are named after all that decides them; what cannot be laid is refused at once."""

import pytest
import torch

import invkit
from invkit.data import Concept, ImageSet, as_concept
from invkit.errors import DataError, SettingsError
from invkit.explainer import check_data, lay_groundwork, with_residual

pytestmark = pytest.mark.filterwarnings("ignore:Nobody said")


def shapes(names, rows=100):
    return Concept("class", torch.arange(rows) % 2, tuple(names))


@pytest.fixture(scope="module")
def pixels():
    return torch.rand(100, 3, 28, 28)


def test_classes_that_no_image_has_give_another_e(pixels, tiny, tmp_path):
    for names in (["disc", "ring"], ["disc", "ring", "star", "cube", "cone"], ["disc", "ring"]):
        data = ImageSet(pixels, {"shape": shapes(names)})
        lay_groundwork(data, settings=tiny, factor_sizes={"shape": 2}, cache=tmp_path)
    for kind, number in (("autoencoder", 1), ("t", 1), ("anchors", 2), ("e", 2)):
        assert len(list(tmp_path.glob(f"{kind}-*.safetensors"))) == number, kind


def test_an_explanation_has_the_names_that_classes_have_now(pixels, network, tiny, tmp_path):
    for names in (["disc", "ring"], ["Scheibe", "Ring"]):
        found = invkit.explain(
            network,
            "4",
            pixels,
            concepts={"shape": shapes(names)},
            settings=tiny,
            cache=tmp_path,
        )
        assert found.held_out.data.concepts["shape"].names == tuple(names)


def test_the_residual_fills_what_the_others_leave():
    assert [*with_residual({"a": 2, "b": 3}, 9).items()] == [("residual", 4), ("a", 2), ("b", 3)]
    assert with_residual({"a": 2, "residual": 7}, 9) == {"residual": 7, "a": 2}


def test_what_cannot_be_laid_is_refused(pixels, tiny):
    images, other = (ImageSet(pixels, {"shape": shapes(names)}) for names in (["disc", "ring"], ["disc", "star"]))
    groups = ImageSet(pixels, groups=torch.arange(100).clamp(max=2))
    twelve = ImageSet(pixels, {f"q{k}": as_concept("q", torch.rand(100)) for k in range(12)})
    options = {"held_out": None, "autoencoder": None, "factor_sizes": None, "settings": tiny, "seed": 0}
    for data, more, error, words in (
        (images.take(torch.arange(30)), {}, DataError, "Too few images"),
        (groups, {}, DataError, "Got: 2 and 98|Got: 99 and 1"),
        (images, {"held_out": other}, DataError, "classes of 'shape' that no training image has"),
        (images, {"held_out": ImageSet(pixels)}, DataError, "other concepts"),
        (images, {"factor_sizes": {"shape": 2, "residual": 3}}, SettingsError, "12 with the residual"),
        (images, {"factor_sizes": {"shape": 12}}, SettingsError, "smaller `factor_sizes`"),
        (twelve, {}, SettingsError, "Give fewer concepts"),
    ):
        with pytest.raises(error, match=words):
            check_data(data, **{**options, **more})
    check_data(images, **{**options, "held_out": images, "factor_sizes": {"shape": 2, "residual": 10}})
    check_data(twelve, **{**options, "factor_sizes": {"q0": 1, "q3": 2}})

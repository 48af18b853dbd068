"""Domain shift: what samples keep, where it is known; both domains through one autoencoder."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from invkit import Explainer
from invkit.data import Concept, ImageSet, color_digits, encode_all
from invkit.errors import DataError
from invkit.explanation import Explanation, HeldOut
from invkit.interpretees import ModuleInterpretee, NamedLayer
from invkit.studies.shift import kept, shift
from invkit.studies.shift_page import decisions_sections


class CopyFlow:
    """A t whose samples are z itself, with noise of a chosen size: what it keeps is known."""

    noise, dim = 0.0, 12

    def __init__(self, noise):
        self.noise = noise

    def condition(self, z, generator):
        return z

    def inverse_given(self, v, h):
        return h[:, None] + self.noise * v


@pytest.fixture(scope="module")
def base(explainer):
    return explainer.explain(ModuleInterpretee(nn.Flatten()), "input")


def with_codes(base, z, noise):
    held_out = HeldOut(base.held_out.data, z)
    return Explanation("copy", base.autoencoder, CopyFlow(noise), None, held_out)


def test_samples_that_are_the_image_itself_keep_all_of_it(base):
    codes = encode_all(base.autoencoder, base.held_out.data).mean
    assert kept(with_codes(base, codes, 0.0))["appearance"].value == pytest.approx(1.0)


def test_samples_without_information_keep_nothing(base):
    mean = encode_all(base.autoencoder, base.held_out.data).mean.mean(0)
    share = kept(with_codes(base, mean.expand(len(base.held_out.data), -1), 1.0))["appearance"]
    assert abs(share.value) < max(3 * share.standard_error, 0.02)


def test_samples_of_a_wrong_image_keep_less_than_nothing(base):
    codes = encode_all(base.autoencoder, base.held_out.data).mean
    z = torch.where(codes > codes.mean(0), codes.mean(0) - 9.0, codes.mean(0) + 9.0)
    assert kept(with_codes(base, z, 0.0))["appearance"].value < 0


def test_with_noise_the_share_is_that_of_the_variances(base):
    codes = encode_all(base.autoencoder, base.held_out.data).mean
    noise = 2.0
    share = kept(with_codes(base, codes, noise))["appearance"]
    # E‖s − x‖² = σ²N; E‖s − x'‖² = σ²N + 2 N Var, with x and x' independent
    between = 2 * codes.var(0).sum()
    inside = noise**2 * codes.shape[1]
    assert share.value == pytest.approx(float(between / (between + inside)), abs=4 * share.standard_error + 0.02)


def test_concepts_are_measured_in_their_factors(base):
    shares = kept(base)
    assert set(shares) == {"appearance", "digit", "foreground", "background"}
    assert all(share.value <= 1 and share.standard_error > 0 for share in shares.values())


def squares(n=200):
    """Bright or dark images with a square at the left or at the right."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.full((n, 3, 28, 28), 0.2) + 0.1 * torch.rand(n, 3, 28, 28, generator=generator)
    side = torch.arange(n) % 2
    pixels[side == 0, :, 8:20, 2:12] = 0.9
    pixels[side == 1, :, 8:20, 16:26] = 0.9
    return ImageSet((pixels * 255).byte(), {"class": Concept("class", side, ("left", "right"))})


def test_the_study_compares_both_domains_through_one_autoencoder(tiny, network, tmp_path):
    home = color_digits(copies=1).take(torch.arange(200))
    explainer = Explainer(squares(), settings=tiny, cache=tmp_path / "cache")
    study = shift(explainer, ModuleInterpretee(network), ["0", "3"], home=home)
    shares = [study.metrics[name]["3"] for name in ("foreign", "home")]
    assert study.headline["invariance of the last layer, foreign"].value == shares[0]["invariance"]["value"]
    assert set(shares[0]["kept"]) == {"appearance", "class"}
    assert set(shares[1]["kept"]) == {"appearance", "digit", "foreground", "background"}
    assert len(list((tmp_path / "cache").glob("autoencoder-*.safetensors"))) == 1
    page = study.to_html(tmp_path / "page.html").read_text()
    assert "Samples for foreign images" in page
    assert "most frequent decision" in page


def test_an_interrupted_autoencoder_of_both_domains_raises(tiny, network, interrupt):
    home = color_digits(copies=1).take(torch.arange(200))
    interrupt("autoencoder")
    with pytest.raises(KeyboardInterrupt):
        shift(Explainer(squares(), settings=tiny), ModuleInterpretee(network), "3", home=home)


@pytest.mark.parametrize(
    "known", [{"scores_classes": False}, {"named": {"output": NamedLayer("0")}}], ids=["embedding", "map"]
)
def test_models_without_class_scores_have_no_table_of_decisions(network, known):
    assert decisions_sections(ModuleInterpretee(network, **known), squares(20), "class") == []
    (told,) = decisions_sections(ModuleInterpretee(network), squares(20), "class")
    assert [row[0] for row in told.tables[0].rows] == ["left", "right"]


def test_a_layer_without_information_refutes_the_claim_given_enough_images(tiny):
    class Blank(nn.Module):
        def forward(self, x):
            return self.scores(torch.full_like(x[:, :, 0, 0], 0.5) + 0 * x.mean((2, 3)))

        scores = nn.Linear(3, 4)

    model = ModuleInterpretee(Blank())
    few, study = (shift(Explainer(squares(n), settings=tiny), model, "output") for n in (200, 4000))
    assert few.holds is None
    assert study.holds is False
    assert list(study.headline) == [
        "invariance of the last layer, foreign",
        "appearance kept by samples of the last layer, foreign",
        "class kept by samples of the last layer, foreign",
    ]


@pytest.mark.parametrize("of", ["held_out", "home_held_out"])
def test_unusable_held_out_images_raise_before_any_training(tiny, network, no_training, of):
    def run(held_out=None, home_held_out=None):
        explainer = Explainer(squares(), settings=tiny, held_out=held_out)
        shift(explainer, ModuleInterpretee(network), "3", home=squares(), home_held_out=home_held_out)

    bare, one = ImageSet(squares(40).pixels), replace(squares(40), groups=torch.zeros(40, dtype=torch.long))
    for held_out, words in ((one, "no other images.*40 of one group"), (bare, "other concepts")):
        with pytest.raises(DataError, match=words):
            run(**{of: held_out})


def test_an_unknown_concept_raises_before_any_training(tiny, network, no_training):
    with pytest.raises(DataError, match="no classes called 'clas'"):
        shift(Explainer(squares(), settings=tiny), ModuleInterpretee(network), "3", concept="clas")

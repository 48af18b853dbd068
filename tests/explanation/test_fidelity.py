"""Fidelity: three defects of an explanation are each detected, and a sound one passes."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import invkit
from invkit.autoencoders import ConvAutoencoder
from invkit.data import color_digits
from invkit.evaluation import Features, frechet_distance
from invkit.interpretees import ModuleInterpretee, as_interpretee
from invkit.settings import Settings
from invkit.studies.sanity import explain_shuffled


class Colours(nn.Module):
    """A model that returns the mean colour of each quarter."""

    def __init__(self):
        super().__init__()
        self.seen = nn.AdaptiveAvgPool2d(2)

    def forward(self, x):
        return self.seen(x).flatten(1)


@pytest.fixture(scope="module")
def small():
    return invkit.explain(
        Colours(),
        "seen",
        color_digits(copies=1),
        settings=Settings.tiny(),
        preprocess=lambda x: x,
    )


def colours(fidelity):
    return {light.about: light.colour for light in fidelity.lights}


def test_metrics_are_saved_with_the_explanation_and_only_some_need_the_model(small, tmp_path):
    fidelity = small.fidelity()
    small.save(tmp_path)
    loaded = invkit.Explanation.load(tmp_path)
    assert loaded.fidelity().metrics == dict(fidelity.metrics)
    assert str(loaded.fidelity()) == str(fidelity)
    alone = loaded.fidelity(n=50).metrics  # measured anew, without the model
    assert set(fidelity.metrics) - set(alone) >= {"distance", "rank", "agreement", "autoencoder's share"}
    assert "What to trust" in small.to_html(tmp_path / "page.html").read_text()


def test_optional_layers_features_and_perceptual_distance_are_evaluated(small):
    features = Features(as_interpretee(Colours(), lambda x: x), "seen")
    distance = invkit.PerceptualDistance(as_interpretee(Colours(), lambda x: x), ["seen"])
    metrics = small.fidelity(["input"], features=features, perceptual=distance, n=40).metrics
    assert metrics["distance at input"].value > metrics["distance at output"].value
    assert metrics["perceptual diversity"].value > 0
    assert {"kernel distance of samples", "kernel distance of reconstructions"} <= set(metrics)
    data = small.held_out.data
    some = torch.linspace(0, len(data) - 1, 40).long()
    made = small.reconstruct(data.images(some))
    expected = frechet_distance(features.of(data.images(some)), features.of(made), data.groups[some])
    assert metrics["Fréchet distance of reconstructions"].value == pytest.approx(expected.value, rel=1e-4)


def test_diversity_of_a_concept_is_one_minus_its_determined_share(small):
    metrics, kept = small.fidelity().metrics, small.determined()
    assert set(kept) >= {"digit", "background"}
    for name, share in kept.items():
        assert metrics[f"diversity of {name}"].value == pytest.approx(1 - share.value)


def test_embeddings_have_no_agreement():
    embedding = ModuleInterpretee(Colours(), scores_classes=False)
    few = color_digits(copies=1)
    metrics = invkit.explain(embedding, "seen", few, settings=Settings.tiny()).fidelity().metrics
    assert "distance of reconstructions at output" in metrics
    assert not any("agreement" in name for name in metrics)


def test_too_few_held_out_images_give_one_red_light():
    few = color_digits("test", copies=1).take(torch.arange(19))
    found = invkit.explain(
        Colours(), "seen", color_digits(copies=1).take(torch.arange(80)), held_out=few, settings=Settings.tiny(),
        preprocess=lambda x: x,
    )  # fmt: skip
    assert not found.fidelity().metrics
    assert [(light.colour, "too few" in light.text) for light in found.fidelity().lights] == [("red", True)]


def test_a_layer_without_information_is_red():
    class Nothing(nn.Module):
        def forward(self, x):
            return 0 * x.mean((2, 3))

    data = color_digits(copies=1).take(torch.arange(200))
    found = invkit.explain(
        nn.Sequential(Nothing()),
        "0",
        data,
        settings=Settings.tiny(),
        preprocess=lambda x: x,
    )
    lights = {light.about: light for light in found.fidelity().lights}
    assert lights["What t finds in the layer"].colour == "red"
    assert "no information about the image" in lights["What t finds in the layer"].text


def test_metrics_depend_on_the_seed_only(small):
    assert small.fidelity(n=41, seed=3).metrics == dict(small.fidelity(n=41, seed=3).metrics)
    assert small.fidelity(n=41, seed=4).metrics["diversity"] != small.fidelity(n=41, seed=3).metrics["diversity"]


@pytest.mark.slow
@pytest.mark.long
def test_trained_explanation_is_green_and_each_of_three_defects_red(quick, tmp_path):
    quick = replace(quick, fit_t=replace(quick.fit_t, steps=300))
    data = color_digits(copies=6)
    data = invkit.ImageSet(data.pixels, groups=data.groups)
    model = Colours()

    def explain(settings=quick, **more):
        return invkit.explain(model, "seen", data, settings=settings, preprocess=lambda x: x, cache=tmp_path, **more)

    right = explain()
    found = colours(right.fidelity())
    assert "red" not in found.values(), str(right.fidelity())
    assert found["What t finds in the layer"] == found["Samples look the same to the layer"] == "green"

    under_trained = replace(quick, fit_t=replace(quick.fit_t, steps=5))
    assert colours(explain(under_trained).fidelity())["What t finds in the layer"] == "red"

    collapsed = ConvAutoencoder(28, latent_dim=64)
    with torch.no_grad():
        collapsed.to_posterior.weight.zero_()
        collapsed.from_latent.weight.zero_()
    fewer = replace(quick, fit_t=replace(quick.fit_t, steps=50))
    broken = colours(explain(fewer, autoencoder=collapsed.eval()).fidelity())
    assert broken["The images' codes"] == broken["What t finds in the layer"] == "red"

    explainer = invkit.Explainer(data, settings=quick, cache=tmp_path).fit(strict=True)
    shuffled = explain_shuffled(explainer, as_interpretee(model, lambda x: x), "seen")
    wrong = colours(shuffled.fidelity())
    assert wrong["What t finds in the layer"] == wrong["Samples look the same to the layer"] == "red"

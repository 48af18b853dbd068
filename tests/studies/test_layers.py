"""Invariance over depth: verdict, rise, several seeds."""

import importlib
import math
from dataclasses import replace

import pytest
import torch

from invkit import Explainer
from invkit.core import Estimate
from invkit.errors import SettingsError
from invkit.evaluation import invariance_rise
from invkit.studies import layers, over_seeds
from invkit.studies.study import verdict


@pytest.fixture(scope="module")
def cached(digits, tiny, tmp_path_factory):
    """An Explainer that finds its explanations again."""
    return Explainer(digits, settings=tiny, cache=tmp_path_factory.mktemp("cache"))


def test_two_layers_or_more_are_required(digits, network):
    with pytest.raises(SettingsError, match="two layers"):
        layers(digits, network, "0", preprocess=lambda x: x)


def test_an_unknown_argument_raises(digits, network):
    with pytest.raises(TypeError, match="unexpected keyword argument 'cahce'"):
        layers(Explainer(digits, cahce="x"), network, ["0", "3"], preprocess=lambda x: x)
    with pytest.raises(TypeError, match="unexpected keyword argument 'epsilon'"):
        layers(digits, network, ["0", "3"], preprocess=lambda x: x, epsilon=3)


def test_a_claim_fails_if_a_part_fails_and_is_open_if_one_is_open():
    assert verdict(True, True) is True
    assert verdict(True, None) is None
    assert verdict(False, None) is False


@pytest.mark.parametrize(
    ("rises", "expected"),
    [
        ([(0.5, 0.1), (0.3, 0.1), (0.2, 0.1)], True),
        ([(0.5, 0.1), (0.6, 0.1), (-0.1, 0.1)], True),  # the fall is within the error
        ([(0.5, 0.1), (0.9, 0.1), (-0.4, 0.1)], False),
        ([(0.5, 0.1), (0.5, 0.1), (math.nan, math.nan)], None),
        ([(0.1, 0.1), (0.1, 0.1), (0.1, 0.1)], None),
    ],
)
def test_the_verdict_needs_a_rise_overall_and_no_significant_fall(cached, network, monkeypatch, rises, expected):
    found = iter([Estimate(*rise, 9) for rise in rises])
    monkeypatch.setattr(
        importlib.import_module("invkit.studies.layers"), "invariance_rise", lambda *_, **__: next(found)
    )
    assert layers(cached, network, ["0", "3", "4"], preprocess=lambda x: x).holds is expected


def test_the_rise_is_the_difference_of_the_invariances_for_any_seed(digits, network, tiny):
    study = layers(Explainer(digits, settings=tiny, seed=3), network, ["0", "4"], preprocess=lambda x: x)
    first, last = (study.headline[f"invariance at {layer}"].value for layer in ("0", "4"))
    assert study.headline["last less first"].value == pytest.approx(last - first, abs=1e-9)


def test_a_study_over_seeds_has_the_mean_and_its_standard_error(digits, network, tiny, tmp_path):
    studies = {}

    def run(seed):
        explainer = Explainer(digits, settings=tiny, seed=seed)
        studies[seed] = layers(explainer, network, ["0", "4"], preprocess=lambda x: x)
        return studies[seed]

    both = over_seeds(run, [0, 1])
    values = [studies[seed].headline["last less first"].value for seed in (0, 1)]
    assert both.headline["last less first"].value == pytest.approx(sum(values) / 2)
    assert both.headline["last less first"].standard_error == pytest.approx(abs(values[0] - values[1]) / 2)
    assert both.metrics["seed 1"]["headline"]["last less first"]["value"] == values[1]
    assert "Seed by seed" in both.to_html(tmp_path / "page.html").read_text()


@pytest.mark.parametrize("wide_first", [True, False])
def test_layers_of_very_different_sizes_are_compared_on_the_same_images(digits, network, tiny, monkeypatch, wide_first):
    monkeypatch.setattr(
        "invkit.utils.resources._AT_ONCE", 2**14
    )  # bytes: enough for the scores of all held-out images, not for their maps
    module, wanted, found = importlib.import_module("invkit.studies.layers"), ["0", "4"][:: 1 if wide_first else -1], {}
    explain_layers = module.explain_layers
    monkeypatch.setattr(module, "explain_layers", lambda *a: found.update(explain_layers(*a)) or found)
    most = Explainer(digits, settings=replace(tiny, held_out_fraction=0.6))
    study = layers(most, network, wanted, preprocess=lambda x: x)
    few, many = found["0"], found["4"]
    assert [len(each.held_out.data) for each in (few, many)] == [100, 180]
    with torch.no_grad():
        both = {"0": (few.t, few.held_out.z), "4": (many.t, network(few.held_out.data.images()))}
    expected = invariance_rise(*(both[layer] for layer in wanted))
    rise = study.headline["last less first"]
    assert (rise.value, rise.standard_error) == pytest.approx((expected.value, expected.standard_error), rel=1e-4)

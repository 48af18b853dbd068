"""Explanations of randomised models and of shuffled pairs."""

import importlib

import pytest
import torch

from invkit.core import Estimate, Interpretee
from invkit.data import color_digits
from invkit.errors import DataError, SettingsError
from invkit.studies import sanity
from invkit.studies.sanity import finds_nothing, is_another


def test_a_study_of_sanity_explains_the_model_randomised_ones_and_shuffled_pairs(digits, network, tiny, tmp_path):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    study = sanity(network, "3", digits, settings=tiny, preprocess=lambda x: x, cache=tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert list(study.metrics["explanations"]) == [
        "as it is", "randomised 1, 43% of the weights", "randomised 2, 100% of the weights", "with shuffled pairs",
    ]  # fmt: skip
    page = study.to_html(tmp_path / "page.html").read_text()
    assert "Samples: model with shuffled pairs" in page
    files = sorted(tmp_path.rglob("t-*.safetensors"))
    again = sanity(network, "3", digits, settings=tiny, preprocess=lambda x: x, cache=tmp_path)
    assert again.headline == study.headline
    assert sorted(tmp_path.rglob("t-*.safetensors")) == files


def test_shuffled_pairs_that_were_cut_short_prove_nothing(digits, network, tiny, tmp_path, interrupt):
    interrupt("t with shuffled pairs")
    with pytest.raises(KeyboardInterrupt):
        sanity(network, "3", digits, settings=tiny, preprocess=lambda x: x, cache=tmp_path)


def test_a_model_without_weights_is_refused():
    class Opaque(Interpretee):
        layers = represent = decide = fingerprint = None

    Opaque.__abstractmethods__ = frozenset()
    with pytest.raises(SettingsError, match="cannot be reached"):
        sanity(Opaque(), "layer", color_digits(copies=1))


def test_no_weights_no_stages_and_several_layers_are_refused_before_any_work(digits, network, tiny):
    plain = {"settings": tiny, "preprocess": lambda x: x}
    with pytest.raises(SettingsError, match=r"no weights to randomise.*Flatten"):
        sanity(torch.nn.Flatten(), "output", digits, **plain)
    with pytest.raises(SettingsError, match=r"no weights to randomise.*stages=0"):
        sanity(network, "3", digits, stages=0, **plain)
    with pytest.raises(SettingsError, match=r"One layer at a time.*0, 1"):
        sanity(network, "?", digits, **plain)


def test_too_few_held_out_images_are_refused_before_any_work(digits, network, tiny, monkeypatch):
    monkeypatch.setattr(
        importlib.import_module("invkit.studies.preparing"), "prepare", lambda *_, **__: pytest.fail("training began")
    )
    few = digits.take(torch.arange(10))
    with pytest.raises(DataError, match=r"Too few held-out.*Got: 1[0-9]"):
        sanity(network, "3", digits.take(torch.arange(100)), settings=tiny, preprocess=lambda x: x)
    with pytest.raises(DataError, match="Too few held-out"):
        sanity(network, "3", digits, held_out=few, settings=tiny, preprocess=lambda x: x)


@pytest.mark.parametrize(
    ("true", "shuffled", "expected"),
    [
        ((2.3, 0.04), (0.0, 0.01), True),
        ((2.3, 0.04), (0.3, 0.01), False),
        ((2.3, 0.04), (0.2, 0.05), None),
        ((0.02, 0.05), (0.001, 0.05), None),
        ((0.02, 0.05), (-0.5, 0.01), None),
    ],
)
def test_shuffled_pairs_are_judged_by_errors_and_against_a_gain_that_is_there(true, shuffled, expected):
    assert finds_nothing(Estimate(*true, 600), Estimate(*shuffled, 600)) is expected


def test_an_explanation_changed_where_any_metric_did_and_did_not_where_all_are_surely_the_same():
    found = {"much": (-0.6, 0.01), "same": (0.001, 0.001), "open": (0.05, 0.03)}
    changes = {name: Estimate(*metric, 600) for name, metric in found.items()}
    assert is_another(changes) is True
    assert is_another({"same": changes["same"], "open": changes["open"]}) is None
    assert is_another({"same": changes["same"]}) is False

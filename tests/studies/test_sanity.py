"""Explanations of randomised models and of shuffled pairs."""

import pytest
import torch

from invkit import Explainer
from invkit.core import Estimate, Interpretee
from invkit.errors import DataError, LayerError, SettingsError
from invkit.studies import sanity
from invkit.studies.sanity import finds_nothing, is_another


def test_the_study_explains_the_model_randomised_ones_and_shuffled_pairs(digits, network, tiny, tmp_path):
    explainer = Explainer(digits, settings=tiny, cache=tmp_path)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    study = sanity(explainer, network, "3", preprocess=lambda x: x)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert list(study.metrics["explanations"]) == [
        "as it is", "randomised 1, 43% of the weights", "randomised 2, 100% of the weights", "with shuffled pairs",
    ]  # fmt: skip
    page = study.to_html(tmp_path / "page.html").read_text()
    assert "Samples: model with shuffled pairs" in page
    files = sorted(tmp_path.rglob("t-*.safetensors"))
    other = Explainer(digits, settings=tiny, cache=tmp_path)
    again = sanity(other, network, "3", preprocess=lambda x: x)
    assert again.headline == study.headline
    assert sorted(tmp_path.rglob("t-*.safetensors")) == files


def test_an_interrupted_training_on_shuffled_pairs_raises(explainer, network, interrupt):
    interrupt("t with shuffled pairs")
    with pytest.raises(KeyboardInterrupt):
        sanity(explainer, network, "3", preprocess=lambda x: x)


def test_a_model_without_accessible_weights_raises(digits):
    class Opaque(Interpretee):
        layers = represent = decide = fingerprint = None

    Opaque.__abstractmethods__ = frozenset()
    with pytest.raises(SettingsError, match="cannot be reached"):
        sanity(digits, Opaque(), "layer")


def test_no_weights_no_stages_and_several_layers_raise_before_any_training(digits, network, no_training):
    plain = {"preprocess": lambda x: x}
    with pytest.raises(SettingsError, match=r"no weights to randomise.*Flatten"):
        sanity(digits, torch.nn.Flatten(), "output", **plain)
    with pytest.raises(SettingsError, match=r"no weights to randomise.*stages=0"):
        sanity(digits, network, "3", stages=0, **plain)
    with pytest.raises(LayerError, match=r"names several layers.*0, 1"):
        sanity(digits, network, "?", **plain)


def test_too_few_held_out_images_raise_before_any_training(digits, network, tiny, no_training):
    few = digits.take(torch.arange(10))
    with pytest.raises(DataError, match=r"Too few held-out.*Got: 1[0-9]"):
        sanity(Explainer(digits.take(torch.arange(100)), settings=tiny), network, "3", preprocess=lambda x: x)
    with pytest.raises(DataError, match="Too few held-out"):
        sanity(Explainer(digits, held_out=few, settings=tiny), network, "3", preprocess=lambda x: x)


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
def test_the_gain_from_shuffled_pairs_is_compared_with_a_significant_gain_from_true_ones(true, shuffled, expected):
    assert finds_nothing(Estimate(*true, 600), Estimate(*shuffled, 600)) is expected


def test_an_explanation_changed_if_any_metric_did_and_did_not_if_all_surely_stayed():
    found = {"much": (-0.6, 0.01), "same": (0.001, 0.001), "open": (0.05, 0.03)}
    changes = {name: Estimate(*metric, 600) for name, metric in found.items()}
    assert is_another(changes) is True
    assert is_another({"same": changes["same"], "open": changes["open"]}) is None
    assert is_another({"same": changes["same"]}) is False

"""Explanations and profiles as dictionaries, data frames, texts and folders."""

import html
import json
import math
import sys
from dataclasses import replace

import pytest
import torch

import invkit
from invkit.errors import ArtefactError, PluginError, SettingsError
from invkit.explanation import Explanation, Profile
from invkit.explanation import profile as profile_module
from invkit.interpretees import Preprocess
from invkit.settings import Settings

CONCEPTS = ["residual", "digit", "foreground", "background"]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(2)).eval()


@pytest.fixture(scope="module")
def profile(network, digits):
    return invkit.profile(network, ["0", "2"], digits, settings=Settings.tiny(), preprocess=Preprocess())


def test_a_dictionary_holds_all_metrics_and_null_for_what_is_not_finite(profile):
    explanation = replace(profile["0"], metrics={**profile["0"].metrics, "nll": math.nan})
    content = json.loads(json.dumps(explanation.to_dict(), allow_nan=False))
    assert content["nll"] is None
    assert content["layer"] == "0"
    assert content.keys() - {"layer"} == explanation.metrics.keys()
    assert profile.to_dict()["2"] == profile["2"].to_dict()


def test_a_data_frame_has_a_row_for_each_metric_and_concept(profile):
    explanation = profile["0"]
    frame = explanation.to_frame()
    assert not frame.duplicated(["metric", "concept"]).any()
    assert set(frame.layer) == {"0"}
    by = frame.set_index(["metric", "concept"])
    for concept, share in explanation.concepts().items():
        row = by.loc["concepts", concept]
        assert (row.value, row.standard_error, row.n) == (share.value, share.standard_error, share.n)
    assert set(frame[frame.metric == "determined"].concept) == set(CONCEPTS)
    assert set(frame[frame.metric == "probe"].concept) == set(CONCEPTS[1:])
    nll = frame[frame.metric == "nll"].iloc[0]
    assert nll.value == explanation.metrics["nll"]
    assert math.isnan(nll.standard_error)
    assert frame[frame.concept.isna()].metric.is_unique
    assert not isinstance(nll.concept, str)
    rank = frame[frame.metric == "rank"].iloc[0]  # of the fidelity
    assert rank.value == explanation.fidelity().metrics["rank"].value


def test_the_columns_do_not_depend_on_the_metrics(profile):
    assert list(replace(profile["0"], metrics={}).to_frame().columns) == list(profile["0"].to_frame().columns)


def test_a_profiles_data_frame_has_the_rows_of_each_explanation(profile):
    frame = profile.to_frame()
    assert list(frame.columns) == ["name", "layer", "metric", "concept", "value", "standard_error", "n"]
    assert len(frame) == sum(len(profile[name].to_frame()) for name in ("0", "2"))
    shares = frame[frame.metric == "concepts"].pivot_table("value", "name", "concept")
    assert shares.loc["2", "digit"] == profile["2"].concepts()["digit"].value


def test_without_pandas_the_error_names_what_to_install(profile, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    for found in (profile, profile["0"]):
        with pytest.raises(PluginError, match="pip install pandas"):
            found.to_frame()


def test_representations_are_one_short_line(profile):
    deep = replace(profile["0"], layer=".".join(["<b>layers</b>"] * 20))
    many = Profile({f"layers.{k}.mlp.activation": profile["0"] for k in range(40)})
    x = profile["0"].held_out.data.images(slice(2))
    places = profile["0"].attribute(x, concept="digit", methods=(), n=2)
    for found in (profile, profile["0"], deep, many, places, profile["0"].fidelity()):
        assert len(repr(found)) < 120
        assert "\n" not in repr(found)
    assert (
        repr(profile["0"]) == f"Explanation(layer='0', invariance={profile['0'].invariance()}, concepts={CONCEPTS[1:]})"
    )
    for found in (deep, profile, many, profile["0"].fidelity()):
        assert "<b>" not in found._repr_html_()
    assert html.escape(repr(deep)) in deep._repr_html_()
    assert all(f"{name}: {share}" in str(profile["0"]) for name, share in profile["0"].concepts().items())


def test_a_representation_draws_no_samples(profile, monkeypatch):
    fresh = replace(profile["0"], metrics={})
    monkeypatch.setattr(Explanation, "_share", lambda *_: pytest.fail("drew samples"))
    assert repr(fresh) == f"Explanation(layer='0', concepts={CONCEPTS[1:]})"


def test_a_saved_profile_is_read_as_it_was(profile, network, tmp_path):
    profile.save(tmp_path)
    loaded = Profile.load(tmp_path, network, preprocess=Preprocess())
    assert loaded.to_dict() == profile.to_dict()
    assert loaded.axis == "layer"
    assert loaded["0"].autoencoder is loaded["2"].autoencoder
    x = profile["0"].held_out.data.images(slice(3))
    for name in ("0", "2"):
        assert torch.equal(loaded[name].sample(x, 2), profile[name].sample(x, 2))
        assert torch.equal(loaded[name].modify(x, digit=x[:1]), profile[name].modify(x, digit=x[:1]))
        assert loaded[name].protocol == json.loads(json.dumps(profile[name].protocol))
    assert loaded.to_html(tmp_path / "page.html").read_text() == profile.to_html(tmp_path / "own.html").read_text()
    alone = Explanation.load(tmp_path / "1", network, preprocess=Preprocess())
    assert alone.layer == "2"


def test_a_profile_is_read_without_models_or_with_one_for_each(profile, network, tmp_path):
    profile.save(tmp_path)
    alone = Profile.load(tmp_path)
    assert alone["0"].interpretee is None
    assert alone.concepts() == profile.concepts()
    each = Profile.load(tmp_path, {"0": network, "2": network}, preprocess=Preprocess())
    assert each["2"].interpretee is not None
    with pytest.raises(SettingsError, match="other names"):
        Profile.load(tmp_path, {"0": network, "3": network}, preprocess=Preprocess())
    with pytest.raises(ArtefactError, match="another model"):
        Profile.load(tmp_path, torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)), preprocess=Preprocess())


def test_a_damaged_profile_is_refused(profile, tmp_path, monkeypatch):
    with pytest.raises(ArtefactError):
        Profile.load(tmp_path)
    profile.save(tmp_path)
    manifest = tmp_path / "1" / "manifest.json"
    kept = manifest.read_text()
    profile["0"].save(tmp_path / "1")
    with pytest.raises(ArtefactError, match="not the explanation that was saved with this profile"):
        Profile.load(tmp_path)
    manifest.write_text(kept)
    with pytest.raises(ArtefactError, match="does not belong to the manifest"):
        Profile.load(tmp_path)
    profile.save(tmp_path)
    monkeypatch.setattr(profile_module, "_FORMAT", 99)
    with pytest.raises(ArtefactError, match="format 99"):
        Profile.load(tmp_path)
    (tmp_path / "profile.json").write_text("[]")
    with pytest.raises(ArtefactError, match="Got: list"):
        Profile.load(tmp_path)

"""The results of a study: metrics, verdict, page, folder."""

import json
import math
import sys

import pytest
from matplotlib.figure import Figure

from invkit import Explainer
from invkit.core import Estimate
from invkit.errors import ArtefactError, PluginError
from invkit.report import Picture, Section, Table
from invkit.studies import Study, dynamics, layers
from invkit.studies.study import shows


def test_to_dict_replaces_nan_by_null():
    headline = {"known": Estimate(0.5, 0.1, 8), "unknown": Estimate(0.5, math.nan, 1)}
    study = Study("name", "Title", "Claim.", headline, None, {"curve": [1.0, math.inf], "pair": (math.nan, "a")})
    content = json.loads(json.dumps(study.to_dict(), allow_nan=False))
    assert content["headline"] == {
        "known": {"value": 0.5, "standard_error": 0.1, "n": 8},
        "unknown": {"value": 0.5, "standard_error": None, "n": 1},
    }
    assert (content["curve"], content["pair"], content["holds"]) == ([1.0, None], [None, "a"], None)


@pytest.mark.parametrize(
    ("share", "said", "words"),
    [
        (Estimate(0.10, 0.04, 9), True, "Here it holds."),
        (Estimate(0.10, 0.06, 9), None, "Here it is undecided."),
        (Estimate(-0.05, 0.06, 9), None, "Here it is undecided."),
        (Estimate(-0.10, 0.04, 9), False, "Here it does not hold."),
        (Estimate(0.003, 0.004, 9), False, "Here it does not hold."),
        (Estimate(0.0, 0.1, 9), None, "Here it is undecided."),
        (Estimate(0.1, math.nan, 9), None, "Here it is undecided."),
    ],
)
def test_undecided_claims_are_open(share, said, words, tmp_path):
    assert shows(share) is said
    study = Study("name", "Title", "Claim.", {"share": share}, shows(share))
    assert words in str(study)
    assert words in study.to_html(tmp_path / "page.html").read_text()


@pytest.fixture
def study():
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([1, 2])
    sections = [
        Section(
            "A <section>", "Text.", [Picture(figure, "A & B.")], [Table(["a", "b"], [("1", "green"), ("2", "red")])]
        ),
        Section("Another"),
    ]
    headline = {"known": Estimate(0.5, 0.1, 8), "unknown": Estimate(0.5, math.nan, 1)}
    metrics = {"layers": {"conv1": {"share": vars(Estimate(0.2, 0.1, 9)), "psnr": 20.5}}, "drawn": [1, 2], "by": "name"}
    return Study("name", "A <title>", "Claim.", headline, True, {**metrics, "open": math.inf}, sections)


def test_a_saved_study_is_read_as_it_was_with_its_page(study, tmp_path):
    loaded = Study.load(study.save(tmp_path / "study"))
    assert loaded.to_dict() == study.to_dict()
    assert str(loaded) == str(study)
    assert loaded.headline["known"] == study.headline["known"]
    assert math.isnan(loaded.headline["unknown"].standard_error)
    assert loaded.to_html(tmp_path / "loaded.html").read_text() == study.to_html(tmp_path / "own.html").read_text()
    again = Study.load(loaded.save(tmp_path / "again"))
    assert again.to_html(tmp_path / "again.html").read_text() == (tmp_path / "own.html").read_text()


def test_a_damaged_study_is_refused(study, tmp_path):
    with pytest.raises(ArtefactError):
        Study.load(tmp_path)
    study.save(tmp_path)
    file, picture = tmp_path / "study.json", tmp_path / "pictures" / "0-0.png"
    content = file.read_text()
    file.write_text(content.replace('"holds": true', '"holds": false'))
    with pytest.raises(ArtefactError, match="was changed"):
        Study.load(tmp_path)
    file.write_text(content.replace('"format": 1', '"format": 99'))
    with pytest.raises(ArtefactError, match="Got: 99"):
        Study.load(tmp_path)
    file.write_text(content)
    picture.write_bytes(picture.read_bytes()[:-1])
    with pytest.raises(ArtefactError, match=r"0-0\.png was changed"):
        Study.load(tmp_path)
    picture.unlink()
    with pytest.raises(ArtefactError, match=r"0-0\.png cannot be read"):
        Study.load(tmp_path)


def test_a_study_as_a_data_frame(study, monkeypatch):
    frame = study.to_frame().set_index("metric")
    assert list(frame.index) == [
        "headline / known",
        "headline / unknown",
        "layers / conv1 / share",
        "layers / conv1 / psnr",
        "drawn / 0",
        "drawn / 1",
        "open",
    ]
    assert set(frame.study) == {"name"}
    assert tuple(frame.loc["layers / conv1 / share", ["value", "standard_error", "n"]]) == (0.2, 0.1, 9)
    assert frame.loc["drawn / 1", "value"] == 2
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(PluginError, match="pip install pandas"):
        study.to_frame()


def test_a_studys_representation_is_short_and_escaped(study):
    many = Study("name", "Title", "Claim.", {f"metric {k}": Estimate(1.0, 0.1, 2) for k in range(40)}, None)
    assert repr(study) == "Study('name', holds=True, headline=['known', 'unknown'])"
    assert len(repr(many)) < 120
    assert "A &lt;title&gt;" in study._repr_html_()


def test_studies_with_one_cache_train_nothing_twice(digits, network, tiny, tmp_path):
    def explainer():
        return Explainer(digits, settings=tiny, cache=tmp_path)

    layers(explainer(), network, ["0", "4"], preprocess=lambda x: x)
    trained = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.safetensors")}
    assert trained
    dynamics(explainer(), {0: network, 9: network}, "4", task="digit", preprocess=lambda x: x)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.safetensors")} == trained

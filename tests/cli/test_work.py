"""The command line: quick help, exit codes, JSON."""

import json
from dataclasses import replace

import pytest

from invkit.explainer import Explainer
from invkit.settings import PRESETS, Settings

pytestmark = pytest.mark.filterwarnings("ignore:Unknown preprocessing")  # how a plain module's images are normalised


@pytest.mark.parametrize(
    "command", ["demo", "explain", "profile", "study", "train-autoencoder", "layers", "models", "doctor", "plugins"]
)
def test_every_command_has_help(run, command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert command in run("--help").output


@pytest.mark.parametrize("command", [["explain"], ["profile"], ["study", "layers"]])
def test_the_presets_are_those_of_settings(run, command):
    assert f"--preset [{'|'.join(PRESETS)}]" in run(*command, "--help").output


def test_wrong_usage_is_exit_code_two(run, model):
    assert run("explain", model).exit_code == 2
    assert run("profile").exit_code == 2
    assert run("explain", model, "0", "/nowhere", "--concepts", "/nowhere.csv").exit_code == 2


def test_explain_and_profile_write_a_report_and_json(run, model, folder, tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(Settings, "quick", staticmethod(lambda *_: replace(tiny)))
    result = run("explain", model, "1", folder, "--preset", "quick", "--out", tmp_path / "o", "--json", "--quiet")
    assert result.exit_code == 0, result.output
    assert set(json.loads(result.stdout)["concepts"]) == {"residual", "class"}
    assert (tmp_path / "o" / "report.html").exists()
    assert (tmp_path / "o" / "explanation" / "manifest.json").exists()
    result = run("profile", model, "0,1", folder, "--preset", "quick", "--out", tmp_path / "p", "--json", "--quiet")
    assert result.exit_code == 0, result.output
    assert list(json.loads(result.stdout)) == ["0", "1"]


def test_a_grey_network_is_explained_with_a_mean_and_std_of_one_channel(run, folder, tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(Settings, "quick", staticmethod(lambda *_: replace(tiny)))
    (tmp_path / "grey.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.AdaptiveAvgPool2d(2))\n"
    )
    options = ["--mean", 0.5, "--std", 0.5, "--preset", "quick", "--out", tmp_path / "o", "--json", "--quiet"]
    result = run("explain", f"{tmp_path / 'grey.py'}:net", "1", folder, *options)
    assert result.exit_code == 0, result.output
    assert set(json.loads(result.stdout)["concepts"]) == {"residual", "class"}


def test_without_data_a_layer_is_explained_on_color_digits(run, model, tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(Settings, "quick", staticmethod(lambda *_: replace(tiny)))
    monkeypatch.setattr("invkit.explainer.validation._COPIES", 1)
    result = run("explain", model, "1", "--preset", "quick", "--out", tmp_path / "o", "--json")
    assert result.exit_code == 0, result.output
    assert set(json.loads(result.stdout)["concepts"]) == {"residual", "digit", "foreground", "background"}
    assert "built-in ColorDigits" in result.stderr


def test_held_out_images_are_read_and_their_table_needs_them(run, model, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for command in ("explain", "profile"):
        result = run(command, model, "1", folder, "--held-out", tmp_path / "empty", "--quiet")
        assert result.exit_code == 1
        assert "empty" in result.output
        result = run(command, model, "1", folder, "--held-out-concepts", __file__, "--quiet")
        assert result.exit_code == 1
        assert "`--held-out-concepts` has no effect without `--held-out`" in result.output
        for option, path in (("--held-out", folder), ("--concepts", __file__)):
            result = run(command, model, "1", option, path, "--quiet")
            assert (result.exit_code, f"`{option}` has no effect without `DATA`" in result.output) == (1, True)


def test_an_unknown_layer_is_one_line_and_exit_code_1(run, model, folder):
    result = run("explain", model, "9", folder, "--quiet")
    assert result.exit_code == 1
    assert "No layer '9'" in result.output


def test_a_saved_explainer_may_be_the_data(run, model, digits, tiny, tmp_path):
    folder = Explainer(digits, settings=tiny).save(tmp_path / "explainer")
    result = run("explain", model, "1", folder, "--out", tmp_path / "o", "--json", "--quiet")
    assert result.exit_code == 0, result.output
    assert set(json.loads(result.stdout)["concepts"]) == {"residual", *digits.concepts}
    for more, words in ((["--preset", "quick"], "--settings"), (["--seed", 1], "--seed 1")):
        result = run("explain", model, "1", folder, "--out", tmp_path / "o", *more)
        assert result.exit_code == 1
        assert "saved Explainer" in result.output
        assert words in result.output

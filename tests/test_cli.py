"""The command line: quick help, exit codes, JSON."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner
from PIL import Image

from invkit.cli import main
from invkit.settings import Settings

MODEL = """
from torch import nn
def small():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.AdaptiveAvgPool2d(2), nn.Flatten())
"""


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def model(tmp_path):
    file = tmp_path / "model.py"
    file.write_text(MODEL)
    return f"{file}:small"


@pytest.fixture
def folder(tmp_path):
    for k in range(90):
        path = tmp_path / "images" / ("ab"[k % 2]) / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 30), (k, 2 * k, 90 * (k % 2))).save(path)
    return tmp_path / "images"


def test_importing_invkit_and_asking_for_help_imports_no_torch():
    script = (
        "import sys, invkit, invkit.cli\n"
        "from click.testing import CliRunner\n"
        "assert CliRunner().invoke(invkit.cli.main, ['explain', '--help']).exit_code == 0\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("command", ["demo", "explain", "profile", "layers"])
def test_every_command_has_help(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert command in run("--help").output


def test_layers_are_listed_as_text_and_json(model):
    assert "Conv2d" in run("layers", model).output
    found = json.loads(run("layers", model, "--json").output)
    assert found[0] == {"address": "0", "type": "Conv2d", "shape": [4, 31, 31], "calls": 1, "parameters": 112}
    assert json.loads(run("layers", "squeezenet1_1", "--json").output)


@pytest.mark.parametrize("bad", ["nonsense", "no.such.module:f", "/nowhere/model.py:f"])
def test_an_unknown_model_is_one_line_and_exit_code_one(bad):
    result = run("layers", bad)
    assert result.exit_code == 1
    assert "No model" in result.output
    assert "Traceback" not in result.output


def test_wrong_usage_is_exit_code_two(model):
    assert run("explain", model).exit_code == 2
    assert run("explain", model, "0", "/nowhere", "--concepts", "/nowhere.csv").exit_code == 2


def test_explain_and_profile_write_a_report_and_json(model, folder, tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(Settings, "quick", staticmethod(lambda: replace(tiny)))
    result = run("explain", model, "1", folder, "--preset", "quick", "--out", tmp_path / "o", "--json", "--quiet")
    assert result.exit_code == 0, result.output
    assert set(json.loads(result.stdout)["concepts"]) == {"residual", "class"}
    assert (tmp_path / "o" / "report.html").exists()
    assert (tmp_path / "o" / "explanation" / "manifest.json").exists()
    result = run("profile", model, "0,1", folder, "--preset", "quick", "--out", tmp_path / "p", "--json", "--quiet")
    assert result.exit_code == 0, result.output
    assert list(json.loads(result.stdout)) == ["0", "1"]


def test_an_unknown_layer_is_one_line_and_exit_code_one(model, folder):
    result = run("explain", model, "9", folder, "--quiet")
    assert result.exit_code == 1
    assert "No layer '9'" in result.output

"""Models, layers, doctor and plugins on the command line."""

import json

import pytest
import torch

from invkit import Preprocess
from invkit.cli.common import open_model

pytestmark = pytest.mark.filterwarnings("ignore:Nobody said")  # how a plain module's images are normalised

PLUGIN = """
from invkit.plugins import hookimpl
INVKIT_API = 1
@hookimpl
def list_models():
    return ["small", "wide/conv"]
@hookimpl
def load_model(name, weights):
    from torch import nn
    from invkit.errors import ArtefactError
    from invkit.interpretees import ModuleInterpretee, Preprocess
    if name not in list_models():
        return None
    if weights is None:
        raise ArtefactError("No weights here", expected="zoo.pt")
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return ModuleInterpretee(network, Preprocess(size=20))
"""


def test_layers_are_listed_as_text_and_json(run, model):
    assert "Conv2d" in run("layers", model).output
    found = json.loads(run("layers", model, "--json").output)
    assert found[0] == {
        "address": "0", "type": "Conv2d", "shape": [4, 31, 31], "calls": 1, "parameters": 112,
        "receptive_field": 3,
        "bytes": 10_000 * 4 * 4 * 31 * 31,
    }  # fmt: skip


@pytest.mark.parametrize("bad", ["nonsense", "no.such.module:f", "/nowhere/model.py:f", "json:no_such_function"])
def test_an_unknown_model_is_one_line_and_exit_code_one(run, bad):
    result = run("layers", bad)
    assert result.exit_code == 1
    assert "No model" in result.output
    assert "Traceback" not in result.output


def test_the_error_of_an_installed_plugin_stands_even_if_a_module_is_called_as_its_prefix(run, install):
    install("json", PLUGIN)  # as timm and torchvision are modules and prefixes
    result = run("layers", "json:smal", "--weights", "random")
    assert (result.exit_code, "json:small" in result.output) == (1, True)


BESIDE = """
from __future__ import annotations
from dataclasses import dataclass
from beside import Net
@dataclass
class Options:
    width: int = 4
def build():
    return Net(Options().width)
def fails():
    return {}["weights"]
"""
NET = """
from torch import nn
class Net(nn.Sequential):
    def __init__(self, width):
        super().__init__(nn.Conv2d(3, width, 3), nn.Flatten(), nn.Linear(width * 30 * 30, 2))
"""


def test_a_model_in_a_file_may_import_what_lies_beside_it_and_be_of_fixed_size(run, tmp_path):
    (tmp_path / "mine.py").write_text(BESIDE)
    (tmp_path / "beside.py").write_text(NET)
    model = f"{tmp_path / 'mine.py'}:build"
    assert "4×30×30" in run("layers", model, "--input-size", 32).output
    assert "none failed" in run("doctor", model, "--input-size", 32).output
    result = run("layers", f"{tmp_path / 'mine.py'}:fails")
    assert "KeyError: 'weights'" in result.output
    assert "mine.py:11" in result.output


def test_the_input_size_replaces_that_of_a_plugins_model(run, install):
    install("zoo", PLUGIN)
    assert "4×9×9" in run("layers", "zoo:small", "--weights", "random").output
    assert "4×15×15" in run("layers", "zoo:small", "--weights", "random", "--input-size", 32).output


def test_colours_can_be_stated(model):
    found = open_model(model, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))  # and nobody is told that they are unknown
    assert found.preprocess == Preprocess(None, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))


def test_a_model_goes_to_work_on_this_processes_device(model, monkeypatch):
    monkeypatch.setattr("invkit.utils.distributed.device", lambda: torch.device("meta"))  # stands in for a GPU
    for to_work, expected in ((True, "meta"), (False, "cpu")):
        found = open_model(model, mean=(0.5, 0.4, 0.3), to_work=to_work)
        assert {p.device.type for p in found.module.parameters()} == {expected}


def test_models_of_plugins_are_listed_by_part_of_a_name_or_a_glob(run, install):
    install("zoo", PLUGIN)
    assert run("models", "zoo:sm").output.split() == ["zoo:small"]
    assert run("models", "zoo:w*").output.split() == ["zoo:wide/conv"]
    assert {"zoo:small", "zoo:wide/conv"} <= set(json.loads(run("models", "--json").output))
    assert run("models", "xyzzy").exit_code == 1


def test_weights_are_the_plugins_affair(run, install, model):
    install("zoo", PLUGIN)
    missing = run("layers", "zoo:small")
    assert (missing.exit_code, "zoo.pt" in missing.output) == (1, True)
    assert "AdaptiveAvgPool2d" in run("layers", "zoo:small", "--weights", "random").output
    assert run("layers", model, "--weights", "random").exit_code == 1


def test_the_doctor_says_check_by_check_whether_a_model_works(run, install):
    install("zoo", PLUGIN)
    result = run("doctor", "zoo:small", "--weights", "random")
    assert result.exit_code == 0, result.output
    assert "passed" in result.output


def test_plugins_are_listed_checked_and_started(run, install, tmp_path):
    install("zoo", PLUGIN)
    install("bad", "raise RuntimeError('no licence')", "invkit-bad", "0.3")
    listed = {p["prefix"]: p["state"] for p in json.loads(run("plugins", "list", "--json").output)}
    assert (listed["zoo"], listed["bad"], "invkit" in listed) == ("found", "found", True)
    text = run("plugins", "list", "--load").output
    assert "broken" in text
    assert "no licence" in text
    assert run("plugins", "check", "bad").exit_code == 1
    result = run("plugins", "new", "flowers", "--into", tmp_path)
    assert result.exit_code == 0
    assert (tmp_path / "invkit-flowers" / "pyproject.toml").exists()
    assert run("plugins", "new", "Bad Name", "--into", tmp_path).exit_code == 1

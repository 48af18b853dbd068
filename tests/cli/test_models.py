"""Models, layers, doctor and plugins on the command line."""

import json

import pytest
import torch

from invkit import Preprocess
from invkit.cli.opening import open_model

pytestmark = pytest.mark.filterwarnings("ignore:Unknown preprocessing")  # how a plain module's images are normalised

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
def test_an_unknown_model_is_one_line_and_exit_code_1(run, bad):
    result = run("layers", bad)
    assert result.exit_code == 1
    assert "No model" in result.output
    assert "Traceback" not in result.output


def test_the_error_of_a_plugin_is_shown_even_if_a_module_has_the_name_of_its_prefix(run, install):
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


def test_a_model_in_a_file_can_import_files_beside_it_and_have_a_fixed_input_size(run, tmp_path):
    (tmp_path / "mine.py").write_text(BESIDE)
    (tmp_path / "beside.py").write_text(NET)
    model = f"{tmp_path / 'mine.py'}:build"
    assert "4×30×30" in run("layers", model, "--input-size", 32).output
    assert "none failed" in run("doctor", model, "--input-size", 32).output
    result = run("layers", f"{tmp_path / 'mine.py'}:fails")
    assert "KeyError: 'weights'" in result.output
    assert "mine.py:11" in result.output


def test_the_input_size_replaces_the_one_of_a_plugins_model(run, install):
    install("zoo", PLUGIN)
    assert "4×9×9" in run("layers", "zoo:small", "--weights", "random").output
    assert "4×15×15" in run("layers", "zoo:small", "--weights", "random", "--input-size", 32).output


def test_mean_and_std_can_be_given(model):
    found = open_model(model, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))  # and nobody is warned that they are unknown
    assert found.preprocess == Preprocess(None, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))


GREY = """
from torch import nn
def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(6 * 14 * 14, 10)
    )
"""


@pytest.fixture
def lenet(tmp_path):
    (tmp_path / "grey.py").write_text(GREY)
    return f"{tmp_path / 'grey.py'}:lenet"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--mean", ".485", ".456", ".406", "MODEL"], Preprocess(mean=(0.485, 0.456, 0.406))),
        (["--std=0.5,0.5,0.4", "MODEL"], Preprocess(std=(0.5, 0.5, 0.4))),
        (["--mean", "0.5", "--std", "0.25", "MODEL"], Preprocess(mean=(0.5,), std=(0.25,))),
        (["MODEL", "--mean", ".5"], Preprocess(mean=(0.5,))),
        (["--channels", "1", "MODEL"], Preprocess(channels=1)),
        (["--channels", "1", "--input-size", "28", "--mean", "0.5", "MODEL"], Preprocess(28, mean=(0.5,))),
    ],
)
def test_mean_and_std_take_one_number_or_three(run, lenet, monkeypatch, words, expected):
    seen = []
    monkeypatch.setattr("invkit.layers", lambda model: seen.append(model) or [])
    result = run("layers", *(lenet if word == "MODEL" else word for word in words))
    assert result.exit_code == 0, result.output
    assert seen[0].preprocess == expected


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--mean", "red"], 2, "one number or three"),
        (["--mean", "0.5,0.5"], 1, "1 channel (grey) or 3"),
        (["--mean", "0.5", "--std", "1,1,1"], 1, "another number of values"),
        (["--channels", "4"], 1, "a function of your own"),
    ],
)
def test_other_numbers_of_channels_are_refused(run, lenet, words, code, told):
    result = run("layers", lenet, *words)
    assert (result.exit_code, told in result.output) == (code, True), result.output


def test_mean_and_std_of_a_plugins_model_are_replaced_and_its_size_stays(run, install):
    install("zoo", PLUGIN)
    assert open_model("zoo:small", "random", mean=(0.5,)).preprocess == Preprocess(20, mean=(0.5,))
    assert open_model("zoo:small", "random", std=(0.5,) * 3).preprocess == Preprocess(20, std=(0.5,) * 3)


def test_the_layers_of_a_grey_network_are_listed_without_further_options(run, lenet):
    result = run("layers", lenet, "--input-size", 28)
    assert "6×28×28" in result.output, result.output
    assert "Unknown preprocessing" not in result.output


def test_the_doctor_names_the_option_for_grey_networks(run, lenet):
    result = run("doctor", lenet, "--input-size", 28)
    assert (result.exit_code, "--channels 1" in result.output) == (1, True), result.output
    result = run("doctor", lenet, "--input-size", 28, "--mean", 0.5, "--std", 0.5)
    assert result.exit_code == 0, result.output
    assert "passed    preprocessing_has_its_inverse" in result.output


def test_three_channels_for_a_grey_network_are_one_line_and_exit_code_1(run, lenet, folder):
    colours = ["--mean", ".5", ".5", ".5"]
    for command in (["layers", lenet, *colours], ["explain", lenet, "0", folder, *colours, "--size", 28, "--quiet"]):
        result = run(*command)
        assert (result.exit_code, "Preprocess(channels=1)" in result.output) == (1, True), result.output
        assert "Traceback" not in result.output


def test_a_model_is_moved_to_the_device_of_this_process(model, monkeypatch):
    monkeypatch.setattr("invkit.utils.distributed.device", lambda: torch.device("meta"))  # stands in for a GPU
    for to_device, expected in ((True, "meta"), (False, "cpu")):
        found = open_model(model, mean=(0.5, 0.4, 0.3), to_device=to_device)
        assert {p.device.type for p in found.module.parameters()} == {expected}


def test_models_of_plugins_are_found_by_part_of_a_name_or_a_glob(run, install):
    install("zoo", PLUGIN)
    assert run("models", "zoo:sm").output.split() == ["zoo:small"]
    assert run("models", "zoo:w*").output.split() == ["zoo:wide/conv"]
    assert {"zoo:small", "zoo:wide/conv"} <= set(json.loads(run("models", "--json").output))
    assert run("models", "xyzzy").exit_code == 1


def test_weights_are_an_option_of_plugins_models_only(run, install, model):
    install("zoo", PLUGIN)
    missing = run("layers", "zoo:small")
    assert (missing.exit_code, "zoo.pt" in missing.output) == (1, True)
    assert "AdaptiveAvgPool2d" in run("layers", "zoo:small", "--weights", "random").output
    assert run("layers", model, "--weights", "random").exit_code == 1


def test_doctor_reports_each_check_of_a_model(run, install):
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

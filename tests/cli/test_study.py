"""`invkit study`: a page and figures of each experiment."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from invkit.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:Nobody said")  # how a plain module's images are normalised

STUDIES = ("adversarial", "comparison", "dynamics", "layers", "modification", "sanity", "shift", "texture")


@pytest.fixture(autouse=True)
def _quick(tiny, monkeypatch):
    monkeypatch.setattr(Settings, "quick", staticmethod(lambda: replace(tiny)))


@pytest.fixture
def study(run, folder, tmp_path):
    def go(name, *arguments):
        out = tmp_path / "out"
        result = run("study", name, *arguments, folder, "--preset", "quick", "--out", out, "--json", "--quiet")
        assert result.exit_code == 0, result.output
        assert (out / f"{name}.html").exists()
        assert json.loads(result.stdout) == json.loads((out / f"{name}.json").read_text())
        return json.loads(result.stdout)

    return go


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_help(run, name):
    assert run("study", name, "--help").exit_code == 0
    assert name in run("study", "--help").output


def test_layers_over_two_seeds(study, model):
    found = study("layers", model, "0,1", "--seeds", "2")
    assert {"seed 0", "seed 1"} <= set(found)
    assert found["headline"]["last less first"]["n"] == 2


def test_dynamics_reads_checkpoints_of_the_model(study, model, tmp_path):
    files = []
    for step in (1, 20):
        torch.manual_seed(step)
        files.append(tmp_path / f"{step}.safetensors")
        save_file({"0.weight": torch.randn(4, 3, 3, 3), "0.bias": torch.randn(4)}, files[-1])
    options = [part for file in files for part in ("--checkpoint", file)]
    concepts = tmp_path / "labels.csv"
    names = [f"{'ab'[k % 2]}/{k}.png,{k % 2},{k / 2}" for k in range(150)]
    concepts.write_text("\n".join(["file,kind,number", *names]))
    found = study("dynamics", model, "1", *options, "--task", "kind", "--concepts", concepts)
    assert list(found["checkpoints"]) == ["1", "20"]


def test_checkpoints_of_one_name_are_refused(run, model, folder, tmp_path):
    options = []
    for step in (1, 2):
        file = tmp_path / f"step{step}" / "weights.safetensors"
        file.parent.mkdir()
        save_file({"0.weight": torch.randn(4, 3, 3, 3), "0.bias": torch.randn(4)}, file)
        options += ["--checkpoint", file]
    result = run("study", "dynamics", model, "1", folder, *options, "--task", "class", "--out", tmp_path / "out")
    assert result.exit_code != 0
    assert "one name" in result.output
    assert run("study", "layers", model, "0,1", folder, "--seeds", "0").exit_code == 2


def test_an_attack_takes_its_options_and_the_models_own_decisions(study, model):
    found = study("adversarial", model, "0,1", "--attack", "pgd", "--steps", "3", "--epsilon", "0.01", "--concept", "")
    assert {"name": "pgd", "epsilon": 0.01, "steps": 3}.items() <= found["attack"].items()
    assert found["attack"]["accuracy"] == 1


def test_shift_takes_another_folder_for_home_and_texture_two_models(study, model, folder):
    found = study("shift", model, "1", "--home", folder)
    assert {"foreign", "home"} <= set(found)
    found = study("texture", model, model, "1", "--cues", "class")
    assert found["holds"] is False  # twice the same network


def test_sanity_takes_its_stages(study, model):
    found = study("sanity", model, "0", "--stages", "3")  # of which the model's two parameters allow two
    assert [name.partition(",")[0] for name in found["explanations"]] == [
        "as it is", "randomised 1", "randomised 2", "with shuffled pairs",
    ]  # fmt: skip


def test_features_are_a_model_and_a_layer(run, model, folder, tmp_path):
    result = run("study", "modification", folder, "--features", "conv5", "--out", tmp_path)
    assert result.exit_code == 1
    assert "MODEL@LAYER" in result.output

"""`invkit study`: a page and metrics of each experiment."""

import inspect
import json
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from invkit import studies
from invkit.evaluation import Features
from invkit.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:Unknown preprocessing")  # how a plain module's images are normalised

STUDIES = ("adversarial", "comparison", "dynamics", "layers", "modification", "sanity", "shift", "texture")

PLUGIN = """
from invkit.plugins import hookimpl
INVKIT_API = 1
@hookimpl
def list_models():
    return ["small"]
@hookimpl
def load_model(name, weights, local_files_only):
    from torch import nn
    from invkit.errors import ArtefactError
    from invkit.interpretees import ModuleInterpretee, Preprocess
    if weights is None:
        raise ArtefactError("No weights here", got=f"local_files_only={local_files_only}")
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))
    for each in network.parameters():
        nn.init.constant_(each, float(weights))
    return ModuleInterpretee(network, Preprocess(size=20), categories=("7", "10", "cat"))
"""


@pytest.fixture(autouse=True)
def _quick(tiny, monkeypatch):
    monkeypatch.setattr(Settings, "quick", staticmethod(lambda *_: replace(tiny)))


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


@pytest.fixture
def handed(run, folder, tmp_path, monkeypatch):
    """Return a function that returns the arguments a study would get, or the error if the command fails."""

    def go(name, *arguments):
        takes, found = inspect.signature(getattr(studies, name)), {}

        def record(*args, **keywords):
            found.update(takes.bind(*args, **keywords).arguments)
            return studies.Study(name, name, "", {}, None)

        with monkeypatch.context() as patched:
            patched.setattr(studies, name, record)
            result = run("study", name, *arguments, folder, "--out", tmp_path / "out", "--quiet")
        assert result.exit_code == (0 if found else 1), result.output
        return found or result.output

    return go


@pytest.fixture
def zoo(install):
    """A plugin whose model has one given number as all its weights."""
    install("zoo", PLUGIN)
    return "zoo:small"


def _given(options):
    """Return options as on the command line."""
    return [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]


def _value_of(interpretee):
    """Return the first weight."""
    return float(next(interpretee.module.parameters()).detach().flatten()[0])


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_help(run, name):
    assert run("study", name, "--help").exit_code == 0
    assert name in run("study", "--help").output


def test_layers_with_two_seeds(study, model):
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


def test_checkpoints_with_equal_names_raise(run, model, folder, tmp_path):
    options = []
    for step in (1, 2):
        file = tmp_path / f"step{step}" / "weights.safetensors"
        file.parent.mkdir()
        save_file({"0.weight": torch.randn(4, 3, 3, 3), "0.bias": torch.randn(4)}, file)
        options += ["--checkpoint", file]
    result = run("study", "dynamics", model, "1", folder, *options, "--task", "class", "--out", tmp_path / "out")
    assert result.exit_code != 0
    assert "same name" in result.output
    assert run("study", "layers", model, "0,1", folder, "--seeds", "0").exit_code == 2


def test_an_attack_takes_its_options_and_the_models_own_decisions(study, model):
    options = {"attack": "pgd", "steps": 3, "epsilon": 0.01, "concept": "", "images": 12}
    found = study("adversarial", model, "0,1", *_given(options))
    assert {"name": "pgd", "epsilon": 0.01, "steps": 3}.items() <= found["attack"].items()
    assert (found["attack"]["accuracy"], found["attack"]["attacked"]) == (1, 12)


def test_shift_takes_another_folder_for_home_and_texture_two_models(study, model, folder):
    found = study("shift", model, "1", "--home", folder)
    assert {"foreign", "home"} <= set(found)
    found = study("texture", model, model, "1", "--cues", "class")
    assert not found["holds"]  # twice the same network


def test_sanity_takes_its_stages(study, model):
    found = study("sanity", model, "0", "--stages", "3")  # the model's two parameters allow two stages
    assert [name.partition(",")[0] for name in found["explanations"]] == [
        "as it is", "randomised 1", "randomised 2", "with shuffled pairs",
    ]  # fmt: skip


def test_features_are_a_model_and_a_layer(run, model, folder, tmp_path):
    result = run("study", "modification", folder, "--features", "conv5", "--out", tmp_path)
    assert result.exit_code == 1
    assert "MODEL@LAYER" in result.output


def test_features_may_be_of_a_network_with_other_weights(handed, zoo, model, monkeypatch):
    for name, *layers in (("comparison", model, "1"), ("modification",)):
        found = handed(name, *layers, "--features", f"{zoo}@2", "--features-weights", "3")
        assert (_value_of(found["features"].interpretee), found["features"].layer) == (3, "2")
    out = handed("comparison", model, "1", "--features", f"{zoo}@2", "--local-files-only")
    assert "local_files_only=True" in out  # weights of the features are not downloaded either
    monkeypatch.setattr(Features, "inception", lambda weights, *, local_files_only: (weights, local_files_only))
    for given, expected in (([], None), (["--features-weights", "file.pth"], "file.pth")):
        assert handed("comparison", model, "1", "--features", "inception", *given)["features"] == (expected, False)
    assert handed("modification", "--features", "inception", "--local-files-only")["features"] == (None, True)


def test_a_twin_has_the_models_weights_or_its_own(handed, zoo):
    for given, expected in (([], 1), (["--twin-weights", "2"], 2)):
        models = handed("texture", zoo, zoo, "1", "--weights", "1", *given)["models"]
        assert {name: _value_of(each) for name, each in models.items()} == {"plain": 1, "stylised": expected}


def test_a_model_of_a_plugin_may_have_a_function_as_twin(handed, zoo, model, tmp_path, monkeypatch):
    models = handed("texture", zoo, model, "1", "--weights", "1")["models"]
    assert [len(each.module) for each in models.values()] == [4, 3]
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # so that additions to the path are undone
    (tmp_path / "model.py").rename(tmp_path / "twins_of_mine.py")
    models = handed("texture", zoo, "twins_of_mine:small", "1", "--weights", "1")["models"]
    assert [len(each.module) for each in models.values()] == [4, 3]
    models = handed("texture", "twins_of_mine.py:small", zoo, "1", "--twin-weights", "2")["models"]
    assert _value_of(models["stylised"]) == 2


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("adversarial", {"images": 30}),
        ("comparison", {"latent_dim": 64}),
        ("modification", {"edits": 20}),
        ("texture", {"cues": "class", "strength": 0.0}),
    ],
)
def test_studies_take_their_own_options(handed, model, name, options):
    models = {"modification": 0, "texture": 2}.get(name, 1)
    where = [*models * [model], *(["0,1"] if models else [])]
    assert options.items() <= handed(name, *where, *_given(options)).items()
    own, known = handed(name, *where), inspect.signature(getattr(studies, name)).parameters
    for option in options:  # the defaults are Python's
        assert own.get(option, known[option].default) == known[option].default


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_takes_held_out_images(handed, model, folder, name):
    where = {
        "modification": [], "texture": [model, model, "0"], "dynamics": [model, "0", "--task", "class"],
    }.get(name, [model, "0"])  # fmt: skip
    explainer = handed(name, *where, "--held-out", folder)["explainer"]
    assert len(explainer.train) == len(explainer.held_out) == 150
    explainer = handed(name, *where)["explainer"]
    assert len(explainer.train) + len(explainer.held_out) == 150


def test_held_out_images_have_their_own_table_of_concepts(handed, study, model, folder, tmp_path):
    others = tmp_path / "others"
    others.mkdir()
    for k in range(40):
        (folder / "ab"[k % 2] / f"{k}.png").rename(others / f"{k}.png")
    files = {"own": [f"{'ab'[k % 2]}/{k}.png" for k in range(40, 150)], "theirs": [f"{k}.png" for k in range(40)]}
    options = ["--held-out", others]
    for (name, each), option in zip(files.items(), ("--concepts", "--held-out-concepts"), strict=True):
        table = tmp_path / f"{name}.csv"
        table.write_text(
            "\n".join(["file,class,part", *(f"{f},{'ab'[k % 2]},{k // 20 % 2}" for k, f in enumerate(each))])
        )
        options += [option, table]
    explainer = handed("modification", *options, "--size", "28")["explainer"]
    assert (len(explainer.train), len(explainer.held_out)) == (110, 40)
    assert {each.size for each in (explainer.train, explainer.held_out)} == {28}
    assert explainer.held_out.concepts["part"].values.tolist() == [k // 20 for k in sorted(range(40), key=str)]
    probes = study("layers", model, "0,1", *options)["layers"]["0"]["probe"]
    assert {name: each["n"] for name, each in probes.items()} == {"class": 40, "part": 40}


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("adversarial", ["--judge", "--concept", ""], "`--judge` has no effect without `--concept NAME`"),
        ("shift", ["--home-held-out", "there"], "`--home-held-out` has no effect without `--home`"),
        ("texture", ["--strength", "0"], "`--strength` has no effect without `--cues`"),
        ("texture", ["--twin-weights", "random"], "`--twin-weights` is for models of plugins"),
        ("comparison", ["--features-weights", "random"], "`--features-weights` has no effect without `--features`"),
        ("comparison", ["--features-weights", "random", "--features", "mine.py:net@0"],
         "`--features-weights` is for models of plugins"),
        ("modification", ["--features-weights", "random"], "`--features-weights` has no effect without `--features`"),
    ],
)  # fmt: skip
def test_options_without_effect_raise_before_a_model_is_opened(handed, model, monkeypatch, name, options, told):
    module = sys.modules["invkit.cli.study"]  # `invkit.cli.study` is the group of that name
    monkeypatch.setattr(module, "open_model", lambda *_, **__: pytest.fail("a model is opened"))
    where = {"modification": [], "texture": [model, model, "0"]}.get(name, [model, "0"])
    assert told in handed(name, *where, *options)


@pytest.mark.parametrize("given", ["10", "cat", None])
def test_a_target_is_passed_as_it_is_written(handed, model, given):
    options = [] if given is None else ["--target", given]
    assert handed("adversarial", model, "0,1", *options)["attack"].target == given

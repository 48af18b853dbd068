"""Each example of a study runs, on a fraction of its images and with tiny settings, and writes its page."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from invkit.data import color_digits
from invkit.interpretees import ModuleInterpretee
from invkit.settings import Settings
from invkit.studies import judging
from invkit.studies.demo.network import CHECKPOINTS, PREPROCESS, squeezenet
from invkit.training import FitSettings
from invkit.utils.io import read_json

EXAMPLES = Path(__file__).parents[1] / "examples" / "studies"
pytestmark = pytest.mark.long
STUDIES = ("adversarial", "comparison", "dynamics", "layers", "modification", "sanity", "texture")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The folder of all pages, and of one cache: examples share autoencoder, e and explanations."""
    return tmp_path_factory.mktemp("examples")


@pytest.fixture
def example(monkeypatch, tiny, out):
    """Return a function that runs an example by name."""
    train, test = color_digits(copies=1).take(torch.arange(200)), color_digits("test", copies=1).take(torch.arange(160))
    model = squeezenet(0, train.images(slice(64)))

    def load(name):
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    networks = {step: ModuleInterpretee(model, PREPROCESS) for step in CHECKPOINTS}
    subjects = load("subjects")
    monkeypatch.setattr(subjects, "digits", lambda *_: (train, test))
    monkeypatch.setattr(subjects, "digits_checkpoints", lambda *_: (networks, train, test))
    monkeypatch.setattr(Settings, "quick", staticmethod(lambda *_: replace(tiny)))
    monkeypatch.setattr(load("classifiers"), "FIT", replace(tiny.fit_t, steps=4))
    monkeypatch.setitem(judging.trained_judge.__kwdefaults__, "settings", replace(tiny.fit_t, steps=4))
    monkeypatch.setattr(subjects, "color_digits", lambda **_: train)

    def run(name, *options):
        module = load(name)
        if name == "texture":
            monkeypatch.setattr(module, "color_digits", lambda **_: train)
        if name in ("texture", "layers"):
            monkeypatch.setattr(module, "replace", lambda fit, **_: fit)
        monkeypatch.setattr(sys, "argv", [name, "--quick", "--out", str(out), *options])
        module.main()

    return run


@pytest.mark.parametrize("name", STUDIES)
def test_an_example_runs_and_writes_its_page(example, out, name):
    example(name)
    assert (out / f"{name}.html").stat().st_size > 10_000
    assert (out / f"{name}.json").exists()


def test_the_layers_example_takes_a_resnet(example, out):
    example("layers", "--network", "resnet18")
    assert list(read_json(out / "layers.json")["layers"]) == ["layer1", "layer2", "layer4", "fc"]
    with pytest.raises(SystemExit, match="resnet18, not vgg"):
        example("layers", "--network", "vgg")


def test_every_example_is_run_here_or_requires_images(example):
    files = {file.stem for file in EXAMPLES.glob("*.py")} - {"classifiers", "subjects", "twins"}
    assert files == {*STUDIES, "shift"}
    with pytest.raises(SystemExit, match="--fashion"):
        example("shift")


def test_twins_start_from_the_same_weights_and_train_on_different_images(tmp_path):
    from twins import LAYERS, train_twins

    data = color_digits(copies=1).take(torch.arange(128))
    few = FitSettings(steps=4, batch_size=16, evaluate_every=2)
    twins = train_twins(data, data, concept="digit", settings=few, seed=0, cache=tmp_path)
    assert list(twins) == ["plain", "stylised"]
    assert twins["plain"].fingerprint() != twins["stylised"].fingerprint()
    again = train_twins(data, data, concept="digit", settings=few, seed=0, cache=tmp_path)
    assert [t.fingerprint() for t in again.values()] == [t.fingerprint() for t in twins.values()]
    same = train_twins(data, data, concept="digit", settings=few, strength=0.0, seed=0)
    assert same["plain"].fingerprint() == same["stylised"].fingerprint() == twins["plain"].fingerprint()
    shapes = {layer: tuple(z.shape[1:]) for layer, z in twins["plain"].represent(data.images(slice(2)), LAYERS).items()}
    assert shapes["block1"][1:] == (14, 14)
    assert len(shapes["pool"]) == 1

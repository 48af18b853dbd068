"""Weights: from files, folders, the hub's cache; and the error where there are none."""

import json
import os
import subprocess
import sys

import huggingface_hub.constants
import pytest
import timm
import torch
from invkit_timm import load_model
from safetensors.torch import save_file

from invkit.errors import ArtefactError
from invkit.interpretees import as_interpretee

NAME, TAG = "test_vit", "r160_in1k"


@pytest.fixture
def model():
    torch.manual_seed(1)
    return timm.create_model(NAME).eval()


@pytest.fixture
def images():
    return torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub; gives a function that puts files of a repository in it."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def snapshot(repository, revision="main"):
        folder = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        commit = ("a" if revision == "main" else "b") * 40
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / revision).write_text(commit)
        (folder / "snapshots" / commit).mkdir(parents=True)
        return folder / "snapshots" / commit

    return snapshot


def same(interpretee, model, images):
    with torch.no_grad():
        expected = model(interpretee.preprocess(images))
    torch.testing.assert_close(interpretee.decide(images), expected, rtol=0, atol=0)


def config(folder, **more):
    about = {"input_size": [3, 160, 160], "mean": [0.1, 0.2, 0.3], "std": [1, 2, 3], "fixed_input_size": True, **more}
    (folder / "config.json").write_text(
        json.dumps({"architecture": NAME, "num_classes": 1000, "pretrained_cfg": about})
    )


@pytest.mark.parametrize("file", ["weights.safetensors", "weights.pth", "folder", "checkpoint.pth"])
def test_a_file_or_folder_gives_its_weights(file, model, images, tmp_path):
    path = tmp_path / file
    if file == "folder":
        path.mkdir()
        save_file(model.state_dict(), path / "model.safetensors")
    elif path.suffix == ".safetensors":
        save_file(model.state_dict(), path)
    else:
        torch.save({"state_dict": model.state_dict()} if file == "checkpoint.pth" else model.state_dict(), path)
    same(load_model(NAME, str(path), True), model, images)


def test_another_layout_is_converted_as_timm_does(model, images, tmp_path):
    path = tmp_path / "open_clip.pth"
    torch.save({f"visual.trunk.{key}": value for key, value in model.state_dict().items()}, path)
    interpretee = load_model(NAME, str(path), True)
    same(interpretee, model, images)
    assert "state_dict" not in interpretee.model.pretrained_cfg


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path):
    path = tmp_path / "other.pth"
    torch.save(timm.create_model("test_resnet").state_dict(), path)
    with pytest.raises(ArtefactError, match=r"other.pth do not fit test_vit.*Missing key"):
        load_model(NAME, str(path), True)


def test_weights_of_ten_classes_do_not_slip_into_a_thousand(tmp_path):
    path = tmp_path / "ten.pth"
    torch.save(timm.create_model(NAME, num_classes=10).state_dict(), path)
    with pytest.raises(ArtefactError, match="size mismatch"):
        load_model(NAME, str(path), True)


def test_a_wrong_tag_lists_the_right_ones():
    with pytest.raises(ArtefactError, match="r160_in1k"):
        load_model(NAME, "r161_in1k", True)


def test_random_weights_follow_torchs_seed():
    fingerprints = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        fingerprints.append(load_model(NAME, "random", True).fingerprint())
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


@pytest.mark.parametrize(("name", "weights"), [(NAME, None), (f"{NAME}.{TAG}", None), (NAME, TAG)])
def test_published_weights_come_from_the_hubs_cache(name, weights, hub, model, images):
    save_file(model.state_dict(), hub(f"timm/{NAME}.{TAG}") / "model.safetensors")
    same(load_model(name, weights, True), model, images)


def test_the_older_file_format_of_the_hub_is_found_too(hub, model, images):
    torch.save(model.state_dict(), hub(f"timm/{NAME}.{TAG}") / "pytorch_model.bin")
    same(load_model(NAME, None, True), model, images)


@pytest.mark.parametrize("revision", ["main", "v2"])
def test_a_model_of_anyone_on_the_hub_brings_its_preprocessing(revision, hub, model, images):
    folder = hub("someone/somenet", revision)
    config(folder)
    save_file(model.state_dict(), folder / "model.safetensors")
    at = "" if revision == "main" else f"@{revision}"
    interpretee = load_model(f"hf-hub:someone/somenet{at}", None, True)
    assert interpretee.preprocess.mean == (0.1, 0.2, 0.3)
    same(interpretee, model, images)


def test_a_local_folder_brings_its_preprocessing_and_categories(tmp_path, images):
    torch.manual_seed(2)
    model = timm.create_model(NAME, num_classes=2).eval()
    config(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    about |= {"num_classes": 2, "label_names": ["n1", "n2"], "label_descriptions": {"n1": "cat", "n2": "dog"}}
    (tmp_path / "config.json").write_text(json.dumps(about))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    interpretee = load_model(f"local-dir:{tmp_path}", None, True)
    assert interpretee.categories == ("cat", "dog")
    same(interpretee, model, images)


def test_where_weights_came_from_does_not_tell_models_apart():
    models = [timm.create_model(NAME, pretrained_cfg_overlay={"file": file}).eval() for file in ("a.pth", "b.pth")]
    models[1].load_state_dict(models[0].state_dict())
    assert models[0].pretrained_cfg != models[1].pretrained_cfg
    assert len({as_interpretee(model).fingerprint() for model in models}) == 1


def test_a_folder_of_something_else_is_no_timm_model(tmp_path):
    with pytest.raises(ArtefactError, match="is no timm model"):
        load_model(f"local-dir:{tmp_path}", "random", True)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ArtefactError, match="is no timm model"):
        load_model(f"local-dir:{tmp_path}", "random", True)
    (tmp_path / "config.json").write_text('{"architecture": "LlamaForCausalLM"}')
    with pytest.raises(ArtefactError, match="is no timm model"):
        load_model(f"local-dir:{tmp_path}", "random", True)


def test_a_model_without_published_weights_says_so():
    name = next(name for name in timm.list_models("resnet*") if not timm.is_model_pretrained(name))
    with pytest.raises(ArtefactError, match="publishes no weights"):
        load_model(name, None, True)


@pytest.mark.parametrize("name", [NAME, "hf-hub:someone/somenet", "gcvit_xxtiny"])
def test_missing_weights_say_where_they_are_expected(name, hub, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(ArtefactError, match=r"Expected: .*the file .*weights='random'") as error:
        load_model(name, None, True)
    assert str(tmp_path) in str(error.value)


def test_the_environment_variables_of_the_hub_are_honoured(tmp_path):
    code = (
        "from invkit.errors import ArtefactError\n"
        "from invkit_timm import load_model\n"
        "for name in ('test_vit', 'hf-hub:someone/somenet', 'gcvit_xxtiny'):\n"
        "    try:\n"
        "        load_model(name, None, False)\n"
        "    except ArtefactError as error:\n"
        "        print(error.expected)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HF_HUB_OFFLINE": "1"}
    environment |= {"HF_HOME": str(tmp_path), "TORCH_HOME": str(tmp_path)}
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        environment.pop(name, None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert str(tmp_path / "hub" / "models--timm--test_vit.r160_in1k") in lines[0]
    assert str(tmp_path / "hub" / "models--someone--somenet") in lines[1]
    assert str(tmp_path / "hub" / "checkpoints" / "gcvit_xxtiny_224_nvidia-d1d86009.pth") in lines[2]

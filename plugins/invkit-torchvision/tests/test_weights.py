"""Weights come from where torch.hub keeps them, as torchvision itself would load them, and nothing is fetched here."""

import urllib.error
from pathlib import Path

import pytest
import torch
from invkit_torchvision import load_model
from torchvision import models

from invkit.errors import ArtefactError

FILE = "squeezenet1_1-b8a52dc0.pth"


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def refuse(*_args, **_kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def squeezenet(**changes):
    state = models.squeezenet1_1().state_dict()
    return state | changes


def published(name):
    """Random weights in the layout in which torchvision publishes them."""
    options = {"weights_backbone": None, "aux_loss": True} if name.startswith("deeplab") else {}
    options |= {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    model = models.get_model(name, weights=None, **options)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():  # statistics as of training, without which a signal dies out on its way
        model.train()(torch.randn(2, 3, *[299 if name == "inception_v3" else 80] * 2))
    state = model.state_dict()
    if name.startswith("densenet"):
        for key in [key for key in state if "denselayer" in key]:
            state[
                key.replace("norm1", "norm.1")
                .replace("norm2", "norm.2")
                .replace("conv1", "conv.1")
                .replace("conv2", "conv.2")
            ] = state.pop(key)
        return {key: value for key, value in state.items() if "num_batches_tracked" not in key}
    return state


@pytest.mark.parametrize(
    "name", ["squeezenet1_1", "mnasnet0_5", "densenet121", "googlenet", "inception_v3", "deeplabv3_mobilenet_v3_large"]
)
def test_a_file_in_torch_hubs_folder_gives_the_model_that_torchvision_builds_of_it(name, checkpoints):
    default = models.get_model_weights(name).DEFAULT
    torch.save(published(name), checkpoints / Path(default.url).name)
    interpretee = load_model(name, None, True)
    expected = models.get_model(name, weights=default).eval()
    x = torch.rand(2, 3, 80, 80)
    with torch.no_grad():
        output = expected(
            (x - torch.tensor([0.485, 0.456, 0.406])[:, None, None]).div_(
                torch.tensor([0.229, 0.224, 0.225])[:, None, None]
            )
        )
    interpretee.preprocess = type(interpretee.preprocess)(80, interpretee.preprocess.mean, interpretee.preprocess.std)
    logits = output["out"].mean((2, 3)) if isinstance(output, dict) else output
    torch.testing.assert_close(interpretee.decide(x), logits)
    assert interpretee.categories == tuple(default.meta["categories"])


@pytest.mark.parametrize(("local", "reason"), [(True, "no download allowed"), (False, "no route to host")])
def test_weights_that_cannot_be_had_are_told_with_file_and_folder(local, reason, checkpoints):
    with pytest.raises(ArtefactError, match=reason) as error:
        load_model("squeezenet1_1", None, local)
    assert FILE in str(error.value)
    assert str(checkpoints) in str(error.value)
    assert "https://download.pytorch.org/models/" + FILE in str(error.value)


def test_a_download_goes_to_torch_hubs_folder_and_is_checked_against_the_hash_in_its_name(checkpoints, monkeypatch):
    asked = []

    def fetch(url, path, digits):
        asked.append((url, path, digits))
        torch.save(squeezenet(), path)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    load_model("squeezenet1_1", None, False)
    load_model("squeezenet1_1", "IMAGENET1K_V1", False)
    assert asked == [("https://download.pytorch.org/models/" + FILE, str(checkpoints / FILE), "b8a52dc0")]


def test_the_name_of_other_weights_of_the_enum_decides_the_file(checkpoints):
    torch.save(models.mobilenet_v2().state_dict(), checkpoints / "mobilenet_v2-b0353104.pth")  # that of V1
    load_model("mobilenet_v2", "IMAGENET1K_V1", True)
    with pytest.raises(ArtefactError, match=r"mobilenet_v2-7ebf99e0\.pth"):
        load_model("mobilenet_v2", "IMAGENET1K_V2", True)


def test_the_name_of_other_weights_of_the_enum_decides_preprocessing_and_size(checkpoints, monkeypatch):
    monkeypatch.setattr("invkit_torchvision.models.fill", lambda *_: None)  # their files have 350 MB and more
    for name in ("vgg16_features-amdegroot-88682ab5.pth", "vit_b_16_swag-9ac1b537.pth"):
        (checkpoints / name).touch()
    with torch.device("meta"):
        vgg = load_model("vgg16", "IMAGENET1K_FEATURES", True)
        vit = load_model("vit_b_16", "IMAGENET1K_SWAG_E2E_V1", True)
    assert vgg.preprocess.std == (1 / 255,) * 3
    assert vgg.categories == ()
    assert (vit.preprocess.size, vit.model.image_size, vit.tokens.grid) == (384, 384, (24, 24))


def test_a_file_a_folder_and_random_are_weights_too(tmp_path):
    bias = torch.arange(64.0)
    torch.save(squeezenet(**{"features.0.bias": bias}), tmp_path / "model.pth")
    for source in (tmp_path, tmp_path / "model.pth"):
        interpretee = load_model("squeezenet1_1", str(source), True)
        torch.testing.assert_close(interpretee.model.features[0].bias.detach(), bias)
    torch.manual_seed(0)
    first = load_model("squeezenet1_1", "random", True).fingerprint()
    torch.manual_seed(0)
    assert load_model("squeezenet1_1", "random", True).fingerprint() == first
    assert load_model("squeezenet1_1", "random", True).fingerprint() != first


def test_an_unknown_name_of_weights_is_answered_with_the_known_ones():
    with pytest.raises(ArtefactError, match="IMAGENET1K_V1, IMAGENET1K_V2, random"):
        load_model("resnet50", "IMAGENET1K_V3", True)


def test_weights_of_another_model_do_not_fit(tmp_path):
    torch.save(squeezenet(), tmp_path / "model.pth")
    with pytest.raises(ArtefactError, match="do not fit ResNet"):
        load_model("resnet18", str(tmp_path), True)


def test_a_file_in_torch_hubs_folder_that_would_execute_code_is_refused(checkpoints, tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    torch.save({"features.0.bias": Evil()}, checkpoints / FILE)
    with pytest.raises(ArtefactError, match="Cannot read"):
        load_model("squeezenet1_1", None, True)
    assert not (tmp_path / "executed").exists()

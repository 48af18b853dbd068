"""The perceptual distance equals torchmetrics' LPIPS, and gradients reach only the images."""

import pytest
import torch
import torchvision
from torch import nn
from torchmetrics.functional.image.lpips import _LPIPS

import invkit
from invkit.core import Interpretee
from invkit.errors import ArtefactError, LayerError, SettingsError
from invkit.interpretees import ModuleInterpretee, PerceptualDistance


@pytest.fixture(scope="module")
def vgg():
    torch.manual_seed(0)
    return torchvision.models.vgg16(weights=None).eval()


def test_the_distance_of_vgg_16_is_lpips(tmp_path, vgg):
    torch.save(vgg.state_dict(), tmp_path / "vgg16.pth")
    ours = PerceptualDistance.lpips(weights=tmp_path / "vgg16.pth")
    theirs = _LPIPS(pretrained=True, net="vgg", pnet_rand=True).eval()
    features = [layer for k in range(1, 6) for layer in getattr(theirs.net, f"slice{k}")]
    for mine, other in zip(vgg.features, features, strict=False):
        other.load_state_dict(mine.state_dict())
    x, y = torch.rand(2, 2, 3, 64, 64)
    assert torch.allclose(ours(x, y), theirs(x, y, normalize=True).flatten(), rtol=1e-4)
    assert ours(x, x).abs().max() == 0


def test_missing_weights_of_vgg_are_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ArtefactError, match="vgg16"):
        PerceptualDistance.lpips(local_files_only=True)


def small():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5))


def test_any_network_works_and_only_the_images_get_a_gradient():
    model = small().train()
    distance = PerceptualDistance(ModuleInterpretee(model, invkit.Preprocess()), ["0", "2"])
    x, y = torch.rand(2, 3, 9, 9), torch.rand(2, 3, 9, 9).requires_grad_()
    distance(x, y).sum().backward()
    assert y.grad.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert model.training
    assert model[3].num_batches_tracked == 0


def test_the_gradient_equals_finite_differences():
    distance = PerceptualDistance(ModuleInterpretee(small(), invkit.Preprocess()), ["0", "2"])
    x, y = torch.rand(1, 3, 9, 9), torch.rand(1, 3, 9, 9).requires_grad_()
    (gradient,) = torch.autograd.grad(distance(x, y).sum(), y)
    step = 1e-2 * gradient / gradient.norm()
    with torch.no_grad():
        change = distance(x, y + step) - distance(x, y - step)
    assert change.item() / 2 == pytest.approx((gradient * step).sum().item(), rel=0.02)


def test_channels_have_equal_weights_by_default():
    model = ModuleInterpretee(small(), invkit.Preprocess())
    plain = PerceptualDistance(model, ["0"])
    weighted = PerceptualDistance(model, ["0"], [torch.full((4,), 0.25)])
    x, y = torch.rand(2, 3, 3, 9, 9)
    assert torch.allclose(plain(x, y), weighted(x, y))
    assert plain.fingerprint() != weighted.fingerprint()


def test_another_number_of_heads_than_layers_is_refused():
    model = ModuleInterpretee(small(), invkit.Preprocess())
    for layers, heads in (([], None), (["0"], [])):
        with pytest.raises(SettingsError, match="takes layers"):
            PerceptualDistance(model, layers, heads)


def test_an_interpretee_without_gradients_is_an_error():
    class Foreign(Interpretee):
        layers = represent = decide = fingerprint = None

    with pytest.raises(LayerError, match=r"has no gradients.*ModuleInterpretee"):
        PerceptualDistance(Foreign.__new__(type("Mine", (Foreign,), {"__abstractmethods__": frozenset()})), ["a"])(
            torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
        )

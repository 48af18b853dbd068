"""The kernel distance against its closed form, and features of Inception with weights in a file."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.image.kid import KernelInceptionDistance

import invkit
from invkit.errors import ArtefactError, DataError
from invkit.evaluation import Features, kernel_distance
from invkit.interpretees import ModuleInterpretee


def closed_form(a, b):
    """Return the unbiased MMD² of equally many rows of both sets, by two loops."""

    def k(x, y):
        return (float(x @ y) / len(x) + 1) ** 3

    n = len(a)
    off = [(i, j) for i in range(n) for j in range(n) if i != j]
    same = sum(k(a[i], a[j]) + k(b[i], b[j]) for i, j in off) / (n * (n - 1))
    return same - 2 * sum(k(x, y) for x in a for y in b) / n**2


def test_kernel_distance_equals_the_unbiased_estimator():
    a, b = torch.randn(20, 5), 1.5 * torch.randn(20, 5) + 0.5
    assert kernel_distance(a, b).value == pytest.approx(closed_form(a, b), rel=1e-5)


@pytest.mark.filterwarnings("ignore:Metric .Kernel")  # that features are kept in memory
def test_kernel_distance_equals_torchmetrics():
    class Same(nn.Module):
        num_features = 6

        def forward(self, x):
            return x

    a, b = torch.randn(80, 6).double(), (1.5 * torch.randn(80, 6) + 0.3).double()
    metric = KernelInceptionDistance(feature=Same(), subsets=1, subset_size=80).set_dtype(torch.float64)
    metric.update(a, real=True)
    metric.update(b, real=False)
    assert kernel_distance(a, b).value == pytest.approx(metric.compute()[0].item(), rel=1e-9)


def test_kernel_distance_uses_equally_many_rows_of_both_sets():
    a, b = torch.randn(41, 5), torch.randn(21, 5) + 1
    assert kernel_distance(a, b).value == pytest.approx(closed_form(a[::2], b), rel=1e-5)
    assert kernel_distance(a, b, most=11).n == 11


def test_kernel_distance_is_unbiased_with_the_right_standard_error():
    found = [kernel_distance(torch.randn(60, 4), torch.randn(60, 4) + shift) for shift in (0.0, 0.7) for _ in range(60)]
    same, apart = found[:60], found[60:]
    mean, spread = np.mean([e.value for e in same]), np.std([e.value for e in same])
    assert abs(mean) < 3 * spread / 60**0.5
    spread = np.std([e.value for e in apart])
    assert np.mean([e.standard_error for e in apart]) == pytest.approx(spread, rel=0.35)


def test_standard_error_does_not_depend_on_the_order_of_rows():
    centres = 4 * torch.eye(4)

    def rows(p):
        of = torch.multinomial(torch.tensor(p), 200, replacement=True).sort().values
        return centres[of] + 0.3 * torch.randn(200, 4)

    found = [
        kernel_distance(rows([0.4, 0.3, 0.2, 0.1]), rows([0.1, 0.2, 0.3, 0.4]), independent=True) for _ in range(80)
    ]
    assert np.mean([e.standard_error for e in found]) == pytest.approx(np.std([e.value for e in found]), rel=0.5)


def test_copies_of_one_image_do_not_reduce_the_standard_error():
    a, b = torch.randn(400, 4), torch.randn(100, 4) + 0.5
    copied, groups = b.repeat_interleave(4, 0), torch.arange(100).repeat_interleave(4)
    blind, seeing = kernel_distance(a, copied), kernel_distance(a, copied, groups)
    assert seeing.standard_error > 1.2 * blind.standard_error


def test_standard_error_of_one_group_is_nan():
    a, b = torch.randn(20, 4), torch.randn(20, 4) + 1
    found = kernel_distance(a, b, torch.zeros(20, dtype=torch.long))
    assert found.value == pytest.approx(kernel_distance(a, b).value)
    assert math.isnan(found.standard_error)


def test_too_few_images_raise():
    with pytest.raises(DataError, match="Too few images"):
        kernel_distance(torch.randn(3, 4), torch.randn(50, 4))


def test_features_of_maps_are_averaged_over_positions():
    network = nn.Conv2d(3, 4, 3)
    features = Features(ModuleInterpretee(network, invkit.Preprocess()), "output")
    images = torch.rand(5, 3, 8, 8)
    assert torch.allclose(features.of(images), network(images).mean((2, 3)), atol=1e-6)


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
    """Return torch-fidelity's network with random weights, and their file."""
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    file = tmp_path_factory.mktemp("inception") / "weights.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fidelity, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(nn.Module, "load_state_dict", lambda *_, **__: None)
        network = fidelity.FeatureExtractorInceptionV3("random", ["2048"])
    torch.save(network.state_dict(), file)
    return network, file


def test_inception_features_equal_torch_fidelity(inception):
    network, file = inception
    images = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
    found = Features.inception(file).of(images / 255)
    assert found.shape == (2, 2048)
    assert torch.allclose(found, network(images)[0], atol=1e-5)


def test_weights_of_another_network_raise(tmp_path, inception):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ArtefactError, match="another network"):
        Features.inception(tmp_path / "other.pth")
    with pytest.raises(ArtefactError, match="No weights at"):
        Features.inception(tmp_path / "missing.pth")


def test_failed_download_raises(tmp_path, monkeypatch):
    pytest.importorskip("torch_fidelity")

    def fail(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(ArtefactError, match="pass its path as `weights`"):
        Features.inception()

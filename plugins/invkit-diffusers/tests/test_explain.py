"""A layer is explained with each of the default networks, at full size with random weights, on images of 64 px."""

import pytest
import torch
from torch import nn

import invkit
from invkit.settings import Settings


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "autoencoder-tiny-64",
        pytest.param("autoencoder-kl-64", marks=pytest.mark.long),
        pytest.param("vq-model-64", marks=pytest.mark.long),
    ],
)
def test_explain_goes_end_to_end(name, tmp_path):
    torch.manual_seed(0)
    autoencoder = invkit.load_autoencoder(f"diffusers:{name}", weights="random")
    model = nn.Sequential(nn.Conv2d(3, 4, 5, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    colours = torch.rand(80, 3, 1, 1)
    images = (colours + 0.1 * torch.rand(80, 3, 64, 64)).clamp(0, 1)
    found = invkit.explain(
        model,
        "2",
        images,
        concepts={"red": colours[:, 0, 0, 0]},
        preprocess=invkit.Preprocess(),
        autoencoder=autoencoder,
        settings=Settings.tiny(),
    )
    assert found.sample(images[:1], n=2).shape == (1, 2, 3, 64, 64)
    assert 0 <= found.invariance().value <= 1
    assert {"red", "residual"} == set(found.concepts())
    assert found.to_html(tmp_path / "report.html").exists()
    folder = found.save(tmp_path / "saved")
    assert (folder / "weights.safetensors").stat().st_size < 20e6  # without the autoencoder's
    again = invkit.Explanation.load(folder, model, autoencoder=autoencoder, preprocess=invkit.Preprocess())
    assert torch.allclose(again.sample(images[:1], n=1), found.sample(images[:1], n=1), atol=1e-5)

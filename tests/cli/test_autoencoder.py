"""`invkit train-autoencoder`, and its folder in `invkit explain`."""

import json

import pytest
from PIL import Image

from invkit.autoencoders import AutoencoderSettings
from invkit.settings import Settings
from invkit.training import FitSettings

pytestmark = pytest.mark.filterwarnings("ignore:Unknown preprocessing")


@pytest.fixture
def folder(tmp_path):
    for k in range(90):
        path = tmp_path / "images" / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 40), (k, 2 * k, 90 * (k % 2))).save(path)
    return tmp_path / "images"


def test_an_autoencoder_is_trained_resumed_and_used_to_explain(run, model, folder, tmp_path, tiny, monkeypatch):
    few = AutoencoderSettings(latent_dim=99, width=4, fit=FitSettings(steps=4, batch_size=16, evaluate_every=2))
    monkeypatch.setattr(AutoencoderSettings, "tiny", classmethod(lambda cls: few))
    monkeypatch.setattr(Settings, "quick", staticmethod(lambda *_: tiny))
    out = tmp_path / "ae"
    options = ("train-autoencoder", folder, "--latent-dim", 12, "--out", out)
    network = ("--perceptual", model, "--perceptual-layers", "0", "--features", model)
    result = run(*options, *network, "--json", "--quiet")
    assert result.exit_code == 0, result.output
    assert set(json.loads(result.stdout)) >= {"psnr", "ssim", "perceptual", "frechet of reconstructions"}
    assert json.loads((out / "manifest.json").read_text())["autoencoder"]["latent_dim"] == 12
    assert (out / "report.html").exists()
    assert "4 steps on" in run(*options).output
    assert "found, trained before" in run(*options).output
    explained = run(
        "explain", model, "0", folder, "--autoencoder", out, "--preset", "quick", "--out", tmp_path / "e", "--quiet"
    )
    assert explained.exit_code == 0, explained.output
    assert not list((tmp_path / "e" / "cache").glob("autoencoder-*"))


def test_an_unsupported_size_is_one_line(run, folder):
    result = run("train-autoencoder", folder, "--size", 100, "--quiet")
    assert result.exit_code == 1
    assert "32 or 64 or 128" in result.output

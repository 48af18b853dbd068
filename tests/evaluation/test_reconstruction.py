"""Metrics of reconstructions against scikit-image and torchmetrics."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import nn

import invkit
from invkit.autoencoders import ConvAutoencoder
from invkit.data import ImageSet
from invkit.evaluation import Features, reconstruction_metrics
from invkit.interpretees import ModuleInterpretee, PerceptualDistance


@pytest.fixture(scope="module")
def case():
    torch.manual_seed(0)
    data = ImageSet(torch.rand(50, 3, 28, 28))
    network = nn.Sequential(nn.Conv2d(3, 6, 5), nn.ReLU())
    return ConvAutoencoder(28, 8, width=4).eval(), data, ModuleInterpretee(network, invkit.Preprocess())


@torch.no_grad()
def test_psnr_and_ssim_equal_scikit_image(case):
    autoencoder, data, _ = case
    metrics = reconstruction_metrics(autoencoder, data)
    seen = autoencoder.decode(autoencoder.encode(data.images()).mean).numpy()
    pairs = list(zip(data.images().numpy(), seen, strict=True))
    psnr = [peak_signal_noise_ratio(a, b, data_range=1) for a, b in pairs]
    options = {
        "data_range": 1,
        "channel_axis": 0,
        "gaussian_weights": True,
        "sigma": 1.5,
        "use_sample_covariance": False,
    }
    ssim = [structural_similarity(a, b, **options) for a, b in pairs]
    assert metrics["psnr"].value == pytest.approx(np.mean(psnr), abs=1e-3)
    assert metrics["psnr"].standard_error == pytest.approx(np.std(psnr, ddof=1) / 50**0.5, rel=1e-2)
    assert metrics["ssim"].value == pytest.approx(np.mean(ssim), abs=3e-3)
    assert set(metrics) == {"psnr", "ssim"}


def test_distances_are_computed_if_a_network_is_given(case):
    autoencoder, data, network = case
    metrics = reconstruction_metrics(
        autoencoder, data, distances={"perceptual": PerceptualDistance(network, ["1"])}, features=Features(network, "1")
    )
    assert {"perceptual", "frechet of reconstructions", "frechet of prior samples"} < set(metrics)
    assert all(estimate.value > 0 for estimate in metrics.values())

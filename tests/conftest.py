"""Shared by all tests: a fixed seed, small settings, a small network."""

import pytest
import torch
from torch import nn

from invkit.data import color_digits
from invkit.flows import FlowSettings
from invkit.settings import Settings
from invkit.training import FitSettings


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny():
    """Settings that run the whole recipe in seconds; their figures mean nothing."""
    few = FitSettings(steps=12, batch_size=32, learning_rate=1e-3, evaluate_every=6)
    flow = FlowSettings(n_flow=2, width=16)
    return Settings(latent_dim=12, t=flow, e=flow, fit_autoencoder=few, fit_t=few, fit_e=few, fit_anchors=few)


@pytest.fixture(scope="session")
def digits():
    """300 coloured digits."""
    return color_digits(copies=1).take(torch.arange(300))


@pytest.fixture
def network():
    """Three layers of three shapes: a map, a vector, scores."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)
    )

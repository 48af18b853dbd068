"""A small and correct interpretee; the tests add one error at a time."""

import pytest
import torch
from torch import nn

from invkit.interpretees import ModuleInterpretee, Preprocess


class Network(nn.Module):
    """What is difficult to capture: in-place ReLU, dropout, batch norm, a repeated module, a nested output."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, 2)
        self.norm = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.mix = nn.Conv2d(6, 6, 3, padding=1)
        self.pair = Pair()
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = self.relu(self.norm(self.conv(x)))
        x = self.relu(self.mix(self.mix(x)))
        return self.head(self.drop(self.pair(x)[0]))


class Pair(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)), x.argmax(1)


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = Network()
    network(torch.rand(16, 3, 16, 16)).sum().backward()  # statistics and gradients that are not those of a new one
    return network


@pytest.fixture
def right(network):
    return ModuleInterpretee(network, Preprocess(16, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)))

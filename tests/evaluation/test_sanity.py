"""Randomised models: every parameter changes."""

import pytest
import torch
from torch import nn
from torchvision.models import vit_b_16

from invkit.evaluation import cascade, randomised


def unchanged(model, other):
    """Return the share of parameters (numbers) that are equal in both."""
    pairs = list(zip(model.parameters(), other.parameters(), strict=True))
    return sum(int((a == b).sum()) for a, b in pairs) / sum(a.numel() for a, _ in pairs)


@pytest.mark.slow
def test_randomised_changes_every_parameter_of_a_vit_unlike_reset_parameters():
    torch.manual_seed(0)
    model = vit_b_16()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))  # as trained: nothing is at its initial value
    reset = randomised(model, only=set())
    assert unchanged(model, reset) == 1
    for module in reset.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    assert unchanged(model, reset) == pytest.approx(0.247, abs=0.003)
    assert unchanged(model, randomised(model)) < 1e-4  # by chance, in single precision


def test_randomised_keeps_mean_and_std_and_the_model_unchanged(network):
    network.append(nn.LayerNorm(5))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = randomised(network, seed=1)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    wide = nn.Linear(200, 200)
    drawn = randomised(wide).weight
    assert float(drawn.std()) == pytest.approx(float(wide.weight.std()), rel=0.05)
    assert not torch.equal(found[5].weight, network[5].weight)  # a scale of ones, which has no spread of its own
    assert float(found[5].weight.mean()) == pytest.approx(1, abs=0.1)
    again = randomised(network, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), again.parameters(), strict=True))


def test_cascade_randomises_from_output_to_input(network):
    names = [name for name, _ in network.named_parameters()]
    stages = list(cascade(network, stages=2))
    assert [round(share, 2) for share, _ in stages] == [round(85 / 197, 2), 1.0]
    first = dict(stages[0][1].named_parameters())
    own = dict(network.named_parameters())
    assert [torch.equal(first[name], own[name]) for name in names] == [True, True, False, False]
    assert unchanged(network, stages[1][1]) == 0

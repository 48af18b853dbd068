"""A layer over checkpoints, whose change is known."""

import pytest
import torch
from torch import nn

from invkit.errors import SettingsError
from invkit.studies import dynamics


class Centre(nn.Module):
    """Sees a mixture of where the ink is, whatever its colour, and of the mean colour: `turn` from 0 to 1."""

    def __init__(self, turn):
        super().__init__()
        self.turn, self.seen = turn, nn.Identity()

    def forward(self, x):
        corner = x[:, :, :2, :2].mean((2, 3), keepdim=True)
        ink = nn.functional.adaptive_avg_pool2d((x - corner).square().sum(1, keepdim=True).sqrt(), 7).flatten(1)
        ink = ink / ink.norm(dim=1, keepdim=True).clamp(min=1e-6)
        return self.seen(torch.cat([self.turn * ink, (1 - self.turn) * corner.flatten(1)], 1))


def test_a_task_and_two_checkpoints_are_asked_for(digits, tiny):
    with pytest.raises(SettingsError, match="no concept 'shape'"):
        dynamics({"0": Centre(0), "9": Centre(1)}, "seen", digits, task="shape", settings=tiny, preprocess=lambda x: x)
    with pytest.raises(SettingsError, match="two checkpoints"):
        dynamics({"0": Centre(0)}, "seen", digits, task="digit", settings=tiny, preprocess=lambda x: x)


def test_a_training_function_yields_checkpoints_that_are_copied(digits, network, tiny):
    def train():
        for step in (0, 10):
            yield step, network
            with torch.no_grad():
                network[0].weight.mul_(2)

    study = dynamics(train, "3", digits, task="digit", settings=tiny, preprocess=lambda x: x, progress=False)
    assert list(study.figures["checkpoints"]) == ["0", "10"]
    of_each = [figures["invariance"] for figures in study.figures["checkpoints"].values()]
    assert of_each[0] != of_each[1]
    assert set(study.headline) == {"growth of digit", "growth of foreground", "growth of background"}


@pytest.mark.slow
def test_the_share_of_the_digit_grows_where_checkpoints_turn_from_colour_to_ink(shared):
    study = dynamics({step: Centre(step / 10) for step in (0, 10)}, "seen", task="digit", **shared)
    assert study.headline["growth of digit"].value > 0.1
    assert study.headline["growth of background"].value < -0.1

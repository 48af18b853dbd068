"""A layer over checkpoints, whose change is known."""

import pytest
import torch

from invkit.errors import SettingsError
from invkit.studies import dynamics


def test_a_task_and_two_checkpoints_are_asked_for(digits, network, tiny):
    models = {"0": network, "9": network}
    with pytest.raises(SettingsError, match="no concept 'shape'"):
        dynamics(models, "3", digits, task="shape", settings=tiny, preprocess=lambda x: x)
    with pytest.raises(SettingsError, match="two checkpoints"):
        dynamics({"0": network}, "3", digits, task="digit", settings=tiny, preprocess=lambda x: x)


def test_a_training_function_yields_checkpoints_that_are_copied_and_put_in_order(digits, network, tiny):
    def train():
        for step in ("10", "9"):
            yield step, network
            with torch.no_grad():
                network[0].weight.mul_(2)

    study = dynamics(train, "3", digits, task="digit", settings=tiny, preprocess=lambda x: x)
    assert list(study.metrics["checkpoints"]) == ["9", "10"]
    of_each = [metrics["invariance"] for metrics in study.metrics["checkpoints"].values()]
    assert of_each[0] != of_each[1]
    assert set(study.headline) == {"growth of digit", "growth of foreground", "growth of background"}

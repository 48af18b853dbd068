"""A layer over checkpoints: what is required, and in which order they come."""

import pytest
import torch

from invkit.errors import SettingsError
from invkit.studies import dynamics


def test_a_task_and_two_checkpoints_are_required(digits, network):
    models = {"0": network, "9": network}
    with pytest.raises(SettingsError, match="no concept 'shape'"):
        dynamics(digits, models, "3", task="shape", preprocess=lambda x: x)
    with pytest.raises(SettingsError, match="two checkpoints"):
        dynamics(digits, {"0": network}, "3", task="digit", preprocess=lambda x: x)


def test_checkpoints_of_a_training_function_are_copied_and_sorted(explainer, network):
    def train():
        for step in ("10", "9"):
            yield step, network
            with torch.no_grad():
                network[0].weight.mul_(2)

    study = dynamics(explainer, train, "3", task="digit", preprocess=lambda x: x)
    assert list(study.metrics["checkpoints"]) == ["9", "10"]
    of_each = [metrics["invariance"] for metrics in study.metrics["checkpoints"].values()]
    assert of_each[0] != of_each[1]
    assert set(study.headline) == {"growth of digit", "growth of foreground", "growth of background"}

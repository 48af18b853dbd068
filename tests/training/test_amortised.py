"""One t for several layers."""

import pytest
import torch

from invkit.data import Codes
from invkit.flows import FlowSettings, InvarianceFlow
from invkit.training import AmortisedTask, FitSettings, InvarianceTask, fit
from invkit.utils.random import generator_for


@pytest.fixture
def tasks():
    """Codes of 6 numbers, of which one layer has the first two, another a map with the last four."""
    settings = FlowSettings(n_flow=2, width=16, map_width=8)

    def build(seed=0):
        torch.manual_seed(seed)
        codes = torch.randn(256, 6)
        found = []
        for z in (codes[:, :2], codes[:, 2:].view(-1, 1, 2, 2)):
            h = settings.build_embedder(tuple(z.shape[1:]), 6)
            t = InvarianceFlow(settings.blocks(6, h.condition_dim), h, noise_floor=0.01)
            t.initialize(codes, z)
            of = Codes(codes, torch.zeros_like(codes))
            found.append(InvarianceTask(t, of, z, (Codes(codes[:64], 0 * codes[:64]), z[:64])))
        return found

    return build


def test_the_loss_is_the_mean_of_each_layers_on_its_part_of_a_batch(tasks):
    alone, together = tasks(), AmortisedTask(tasks())
    for task in alone[1:]:
        task.module.blocks = alone[0].module.blocks
    rows = torch.arange(10)
    generator = generator_for(0, "a")
    expected = [task.loss(task.module, part, generator) for task, part in zip(alone, rows.tensor_split(2), strict=True)]
    assert torch.equal(together.loss(together.module, rows, generator_for(0, "a")), torch.stack(expected).mean())
    assert together.validation_loss(together.module) == pytest.approx(
        sum(t.validation_loss(t.module) for t in alone) / 2
    )


def test_blocks_are_saved_once_and_a_restored_flow_is_the_same(tasks):
    first, other = AmortisedTask(tasks()), AmortisedTask(tasks(seed=1))
    state = first.module.state_dict()
    assert any(name.startswith("0.blocks.") for name in state)
    assert not any(name.startswith("1.blocks.") for name in state)
    assert first.validation_loss(first.module) != other.validation_loss(first.module)
    other.module.load_state_dict(state)
    assert first.validation_loss(other.module) == first.validation_loss(first.module)
    with pytest.raises(KeyError):
        other.module.load_state_dict({})


def test_training_lowers_every_layers_metric_and_blocks_stay_shared(tasks):
    task = AmortisedTask(tasks())
    before = [each.validation_loss(each.module) for each in task._tasks]
    fit(task, FitSettings(steps=200, batch_size=64, learning_rate=1e-2, evaluate_every=50))
    after = [each.validation_loss(each.module) for each in task._tasks]
    assert all(b < a - 0.2 for a, b in zip(before, after, strict=True))
    assert task.module[0].blocks is task.module[1].blocks

"""The tasks of t and e: validation losses represent all validation images, whatever their order."""

import pytest
import torch

from invkit.data import Codes, as_concept
from invkit.flows import FlowSettings, InvarianceFlow, SemanticFlow
from invkit.training import AnchorTask, InvarianceTask, SemanticTask, held_out_nll
from invkit.utils import resources as room
from invkit.utils.random import generator_for

FLOW = FlowSettings(n_flow=2, width=16, map_width=8)


@pytest.fixture
def by_class():
    """Codes of images sorted by class, which lie the farther out the higher its number."""
    classes = torch.arange(6000) // 600
    codes = torch.randn(6000, 4) * (1 + classes[:, None])
    return Codes(codes, torch.zeros_like(codes)), as_concept("class", classes)


@pytest.mark.parametrize("fit", [64, 2048])
def test_the_validation_loss_of_t_covers_all_validation_images(by_class, monkeypatch, fit):
    codes, _ = by_class
    h = FLOW.build_embedder((3,), 4)
    t = InvarianceFlow(FLOW.blocks(4, h.condition_dim), h, noise_floor=0.01)
    z = torch.randn(len(codes), 3)
    t.initialize(codes.mean[::60], z[::60])
    monkeypatch.setattr(room, "_AT_ONCE", fit * 12)
    judged = InvarianceTask(t, codes, z, (codes, z)).validation_loss(t)
    assert judged == pytest.approx(float(held_out_nll(t, codes, z).mean()), rel=0.1)


@torch.no_grad()
@pytest.mark.parametrize("kind", [AnchorTask, SemanticTask])
def test_the_validation_loss_of_e_covers_all_validation_images(by_class, kind):
    codes, concept = by_class
    e = SemanticFlow(FLOW.blocks(4), {"residual": 1, "class": 3})
    e.initialize(codes.mean[::60])
    task = kind(e, codes, {"class": concept}, (codes, {"class": concept}))
    everywhere = task.loss(e, torch.arange(len(codes)), generator_for(0, "all"))
    assert task.validation_loss(e) == pytest.approx(float(everywhere), rel=0.1)


def test_if_all_fit_in_memory_all_are_evaluated_in_order(by_class):
    codes, _ = by_class
    few = Codes(codes.mean[:500], codes.std[:500] + 0.1)
    h = FLOW.build_embedder((3,), 4)
    t = InvarianceFlow(FLOW.blocks(4, h.condition_dim), h, noise_floor=0.01)
    z = torch.randn(500, 3)
    t.initialize(few.mean, z)
    assert InvarianceTask(t, few, z, (few, z)).validation_loss(t) == float(held_out_nll(t, few, z).mean())

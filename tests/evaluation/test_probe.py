"""The ridge probe with known linear information, and with none."""

import pytest
import torch

from invkit.core import Estimate
from invkit.data import as_concept
from invkit.evaluation import order_disagreements, probe


def test_probe_finds_linear_information_and_none_in_noise():
    x = torch.randn(1200, 8)
    concepts = {
        "class": as_concept("class", (x[:, 0] > 0).int()),
        "value": as_concept("value", 3 * x[:, 1] + 5),
        "absent": as_concept("absent", torch.rand(1200, 3)),
    }
    train, test = torch.arange(900), torch.arange(900, 1200)
    found = probe(
        x[train],
        {n: c.take(train) for n, c in concepts.items()},
        x[test],
        {n: c.take(test) for n, c in concepts.items()},
    )
    assert found["value"].value == pytest.approx(1, abs=0.01)
    assert 0.5 < found["class"].value < 0.75  # a line through a sign: 2/π = 0.64
    assert abs(found["absent"].value) < 0.05
    assert all(p.standard_error > 0 for p in found.values())


def test_order_disagreements_need_two_standard_errors():
    shares = {"a": Estimate(0.8, 0.01, 9), "b": Estimate(0.5, 0.01, 9), "c": Estimate(0.49, 0.01, 9)}
    probes = {"a": Estimate(0.1, 0.02, 9), "b": Estimate(0.6, 0.02, 9), "c": Estimate(0.9, 0.02, 9)}
    assert order_disagreements(shares, probes) == [("a", "b"), ("a", "c")]  # b and c are too near in eq. 20
    assert order_disagreements(shares, {"a": probes["a"]}) == []

"""Names that the examples in docstrings may use: invkit, network, explainer, explanation, profile."""

from functools import cache

import pytest
import torch
from torch import nn

import invkit
from invkit.utils.progress import quiet

collect_ignore = ["invkit/__main__.py", "examples/studies"]  # scripts

_TRAINED = ("network", "explainer", "explanation", "profile")


@cache
def _trained():
    """Explain two layers of a small network on 300 coloured digits, in seconds; the numbers mean nothing."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)
    network = invkit.ModuleInterpretee(nn.Sequential(*layers), invkit.Preprocess())
    digits = invkit.color_digits(copies=1).take(torch.arange(300))
    with quiet():
        explainer = invkit.Explainer(digits, settings=invkit.Settings.tiny())
        profile = explainer.profile(network, ["0", "2"])
    return {"network": network, "explainer": explainer, "explanation": profile["0"], "profile": profile}


@pytest.fixture(autouse=True)
def _names_of_examples(request):
    """Add `invkit` to the names of each example, and the trained objects to those of an example that uses them."""
    if isinstance(request.node, pytest.DoctestItem):
        names = request.getfixturevalue("doctest_namespace")
        names["invkit"] = invkit
        source = "".join(example.source for example in request.node.dtest.examples)
        if any(name in source for name in _TRAINED):
            names.update(_trained())
        torch.manual_seed(0)

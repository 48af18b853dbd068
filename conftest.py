"""Names that the examples in docstrings use: a tiny explained network."""

from functools import cache

import pytest
import torch
from torch import nn

import invkit
from invkit.data import color_digits
from invkit.settings import Settings
from invkit.utils.progress import quiet


@cache
def _tiny_profile():
    """Explain two layers of a small network on 300 coloured digits, in seconds; the numbers mean nothing."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)
    ).eval()
    digits = color_digits(copies=1).take(torch.arange(300))
    preprocess = invkit.Preprocess()
    with quiet():
        return invkit.profile(network, ["0", "2"], digits, settings=Settings.tiny(), preprocess=preprocess)


@pytest.fixture(autouse=True)
def _examples(request):
    """Add `invkit`, `profile` and `explanation` to the names of an example that uses them."""
    if isinstance(request.node, pytest.DoctestItem):
        names, source = (
            request.getfixturevalue("doctest_namespace"),
            "".join(e.source for e in request.node.dtest.examples),
        )
        names["invkit"] = invkit
        if "profile" in source or "explanation" in source:
            names["profile"] = _tiny_profile()
            names["explanation"] = names["profile"]["0"]

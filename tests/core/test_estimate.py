"""Numbers with standard errors."""

import math

import pytest

from invkit.core import Estimate


@pytest.mark.parametrize(
    ("value", "error", "more", "expected"),
    [
        (1.0, 0.4, {}, True),
        (1.0, 0.6, {}, None),
        (-1.0, 0.4, {}, False),
        (-1.0, 0.6, {}, None),
        (1.0, 0.4, {"least": 0.5}, None),
        (1.0, 0.4, {"least": 2.0}, False),
        (1.0, 0.4, {"errors": 3.0}, None),
        (0.001, 0.004, {}, None),
        (0.001, 0.004, {"nothing": 0.02}, False),
        (0.010, 0.004, {"nothing": 0.02}, None),  # surely above 0, and surely by less than 0.02
        (0.030, 0.004, {"nothing": 0.02}, True),
        (0.0, 0.0, {}, None),
        (1.0, math.nan, {}, None),
        (math.nan, 0.1, {}, None),
        (math.inf, 0.1, {}, None),
    ],
)
def test_an_estimate_exceeds_a_number_does_not_or_leaves_it_open(value, error, more, expected):
    assert Estimate(value, error, 9).exceeds(**more) is expected

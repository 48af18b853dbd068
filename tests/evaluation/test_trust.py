"""Lights of given metrics."""

import math
from itertools import pairwise

import pytest

from invkit.core import Estimate
from invkit.evaluation import lights

GOOD = {
    "reconstruction": Estimate(0.97, 0.01, 600),
    "gain from z": Estimate(1.0, 0.1, 600),
    "invariance": Estimate(0.4, 0.0, 600),
    "open among neighbours": Estimate(0.5, 0.01, 600),
    "energy of v": Estimate(1.02, 0.02, 600),
    "KS distance of v": 0.03,
    "KS distance of N(0, 1)": 0.03,
    "correlation of v": 0.02,
    "rank": Estimate(0.99, 0.01, 128),
    "distance": Estimate(0.1, 0.01, 128),
    "diversity": Estimate(0.1, 0.01, 128),
    "neighbours covered": Estimate(0.5, 0.02, 600),
}
OF = {
    "reconstruction": "The images' codes",
    "gain from z": "What t finds in the layer",
    "open among neighbours": "What t finds in the layer",
    "energy of v": "Variances and likelihoods",
    "KS distance of v": "Variances and likelihoods",
    "correlation of v": "Variances and likelihoods",
    "rank": "Samples look the same to the layer",
    "neighbours covered": "Samples show all that is open",
}


def colour(name, metric):
    return {light.about: light.colour for light in lights({**GOOD, name: metric})}[OF[name]]


def test_good_metrics_are_green():
    assert {light.colour for light in lights(GOOD)} == {"green"}


@pytest.mark.parametrize(
    ("name", "value", "error", "expected"),
    [
        ("neighbours covered", 0.35, 0.02, "amber"),
        ("neighbours covered", 0.35, 0.08, "amber"),
        ("neighbours covered", 0.25, 0.13, "red"),
        ("neighbours covered", 0.34, 0.01, "red"),
        ("neighbours covered", 0.5, 0.1, "amber"),
        ("open among neighbours", 0.1, 0.01, "red"),  # t leaves 0.3 more
        ("open among neighbours", 0.1, 0.2, "amber"),
        ("open among neighbours", 0.35, 0.01, "amber"),
        ("open among neighbours", 0.4, 0.01, "green"),
        ("open among neighbours", 0.4, 0.06, "amber"),
        ("gain from z", 0.1, 0.06, "red"),
        ("reconstruction", 0.95, 0.2, "amber"),
        ("rank", 0.79, 0.01, "red"),
        ("energy of v", 1.6, 0.01, "red"),
        ("energy of v", 0.6, 0.01, "red"),
    ],
)
def test_lights_of_known_metrics(name, value, error, expected):
    assert colour(name, Estimate(value, error, 600)) == expected


@pytest.mark.parametrize("name", OF)
def test_less_data_is_never_greener_and_unknown_is_never_green(name):
    if isinstance(GOOD[name], Estimate):
        for value in (0.1, 0.2, 0.3, 0.34, 0.4, 0.45, 0.49, 0.7, 0.9, 0.99, 1.2):
            found = [colour(name, Estimate(value, error, 9)) == "green" for error in (0.001, 0.01, 0.03, 0.1, 0.3, 1)]
            assert all(sure or not rough for sure, rough in pairwise(found))
        unknown = [Estimate(0.99, math.nan, 9), Estimate(math.nan, 0.01, 9), Estimate(math.inf, math.inf, 9)]
    else:
        unknown = [math.nan, math.inf, -math.inf]
    assert {colour(name, metric) for metric in unknown} == {"amber"}


def test_total_information_decides_the_colour():
    found = {information: lights({**GOOD, "information": information})[1] for information in (3.0, -1.0, 0.0, math.nan)}
    assert [light.colour for light in found.values()] == ["green", "red", "red", "amber"]
    assert "no information about the image" in found[-1.0].text

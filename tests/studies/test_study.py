"""What every study gives."""

import json
import math

import pytest

from invkit.core import Estimate
from invkit.studies import Study
from invkit.studies.study import shows


def test_unknown_metrics_are_null_for_readers_that_know_no_nan():
    headline = {"known": Estimate(0.5, 0.1, 8), "unknown": Estimate(0.5, math.nan, 1)}
    study = Study("name", "Title", "Claim.", headline, None, {"curve": [1.0, math.inf], "pair": (math.nan, "a")})
    told = json.loads(json.dumps(study.to_dict(), allow_nan=False))
    assert told["headline"] == {
        "known": {"value": 0.5, "standard_error": 0.1, "n": 8},
        "unknown": {"value": 0.5, "standard_error": None, "n": 1},
    }
    assert (told["curve"], told["pair"], told["holds"]) == ([1.0, None], [None, "a"], None)


@pytest.mark.parametrize(
    ("share", "said", "words"),
    [
        (Estimate(0.10, 0.04, 9), True, "Here it holds."),
        (Estimate(0.10, 0.06, 9), None, "Here nothing can be said of it."),
        (Estimate(-0.05, 0.06, 9), None, "Here nothing can be said of it."),
        (Estimate(-0.10, 0.04, 9), False, "Here it does not hold."),
        (Estimate(0.003, 0.004, 9), False, "Here it does not hold."),
        (Estimate(0.0, 0.1, 9), None, "Here nothing can be said of it."),
        (Estimate(0.1, math.nan, 9), None, "Here nothing can be said of it."),
    ],
)
def test_a_claim_that_the_metrics_do_not_decide_is_open(share, said, words, tmp_path):
    assert shows(share) is said
    study = Study("name", "Title", "Claim.", {"share": share}, shows(share))
    assert words in str(study)
    assert words in study.to_html(tmp_path / "page.html").read_text()

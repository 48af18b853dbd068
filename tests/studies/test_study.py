"""What every study gives."""

import json
import math

from invkit.evaluation import Estimate
from invkit.studies import Study


def test_unknown_figures_are_null_for_readers_that_know_no_nan():
    headline = {"known": Estimate(0.5, 0.1, 8), "unknown": Estimate(0.5, math.nan, 1)}
    study = Study("name", "Title", "Claim.", headline, None, {"curve": [1.0, math.inf], "pair": (math.nan, "a")})
    told = json.loads(json.dumps(study.to_dict(), allow_nan=False))
    assert told["headline"] == {
        "known": {"value": 0.5, "standard_error": 0.1, "n": 8},
        "unknown": {"value": 0.5, "standard_error": None, "n": 1},
    }
    assert (told["curve"], told["pair"], told["holds"]) == ([1.0, None], [None, "a"], None)

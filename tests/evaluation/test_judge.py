"""The judge predicts classes and values."""

import pytest
import torch

from invkit.data import ImageSet, as_concept, color_digits
from invkit.evaluation import Judge, JudgeTask
from invkit.training import FitSettings, fit


def test_judge_learns_the_background_in_a_short_training():
    data = color_digits(copies=1)
    judge = Judge.of(data)
    fit(JudgeTask(judge, data, data), FitSettings(steps=60, batch_size=64, learning_rate=3e-3))
    read = judge.read(data.images(slice(200)))
    truth = {name: concept.values[:200] for name, concept in data.concepts.items()}
    assert (read["background"] - truth["background"]).abs().mean() < 0.15
    assert read["digit"].shape == (200,)
    moved = Judge.moved(read["background"], torch.rand(200, 3), truth["background"])
    assert moved.float().mean() > 0.8


@pytest.mark.parametrize("scale", [80.0, 20_000.0])
def test_judge_is_invariant_to_the_unit_of_values(digits, scale):
    level, read = digits.images().mean((1, 2, 3)), {}
    for unit in (1.0, scale):
        data = ImageSet(digits.pixels, {"digit": digits.concepts["digit"], "level": as_concept("level", unit * level)})
        torch.manual_seed(0)
        judge = Judge.of(data)
        fit(JudgeTask(judge, data, data), FitSettings(steps=25, batch_size=64, learning_rate=3e-3))
        read[unit] = judge.read(data.images())
    torch.testing.assert_close(read[scale]["level"] / scale, read[1.0]["level"], rtol=1e-2, atol=1e-3)
    assert (read[scale]["digit"] == read[1.0]["digit"]).float().mean() > 0.98
    error = (read[scale]["level"][:, 0] / scale - level).square().mean() / level.var()
    assert error < 0.5


def test_judge_accepts_any_concept_name(digits):
    names = ["half", "type", "training", "mouth.open", "keys"]
    data = ImageSet(digits.pixels, dict.fromkeys(names, digits.concepts["digit"]))
    judge = Judge.of(data)
    assert [value.shape for value in judge(digits.images(slice(4))).values()] == 5 * [(4, 10)]
    assert list(judge.read(digits.images(slice(4)))) == names

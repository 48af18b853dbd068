"""The judge reads classes and colours."""

import torch

from invkit.data import color_digits
from invkit.evaluation import Judge, JudgeTask
from invkit.training import FitSettings, fit


def test_a_short_training_already_reads_the_background():
    data = color_digits(copies=1)
    judge = Judge.of(data)
    fit(JudgeTask(judge, data, data), FitSettings(steps=60, batch_size=64, learning_rate=3e-3), progress=False)
    read = judge.read(data.images(slice(200)))
    truth = {name: concept.values[:200] for name, concept in data.concepts.items()}
    assert (read["background"] - truth["background"]).abs().mean() < 0.15
    assert read["digit"].shape == (200,)
    moved = Judge.moved(read["background"], torch.rand(200, 3), truth["background"])
    assert moved.float().mean() > 0.8

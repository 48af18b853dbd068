"""The method with default settings on ColorDigits, where the truth is known: hand-made networks, edits."""

import pytest
import torch
import torch.nn.functional as F

from invkit import Explainer
from invkit.core import Interpretee
from invkit.data import color_digits
from invkit.explanation import Explanation, HeldOut
from invkit.studies.demo.judged import edit_rates
from invkit.studies.judging import trained_judge

pytestmark = [pytest.mark.slow, pytest.mark.long]


class HandMade(Interpretee):
    """A network with one layer, a given function."""

    def __init__(self, function):
        self.function = function

    def layers(self):
        return []

    def represent(self, images, layers):
        return {layer: self.function(images) for layer in layers}

    def decide(self, images):
        return self.function(images)

    def fingerprint(self):
        return "hand-made"


@pytest.fixture(scope="module")
def fitted():
    return Explainer(color_digits("train"), held_out=color_digits("test", copies=4)).fit()


def shares(fitted, function):
    explanation = fitted.explain(HandMade(function), "layer")
    found = {name: share.value for name, share in explanation.concepts().items()}
    print(found, explanation.metrics)
    return found


def test_a_layer_that_keeps_only_the_label(fitted):
    known = {
        image.numpy().tobytes(): int(label)
        for data in (fitted.train, fitted.held_out)
        for image, label in zip((data.images() * 255).round().byte(), data.concepts["digit"].values, strict=True)
    }

    def label(images):
        keys = [image.numpy().tobytes() for image in (images * 255).round().byte()]
        return F.one_hot(torch.tensor([known.get(key, 0) for key in keys]), 10).float()  # 0 for decoded images

    found = shares(fitted, label)
    assert found["digit"] - max(found["background"], found["foreground"]) >= 0.3


def test_a_layer_that_keeps_a_blurred_grey_image(fitted):
    """Only the brightness of the colours is left, one of three dimensions; the digit is still legible."""
    found = shares(fitted, lambda x: F.avg_pool2d(x.mean(1, keepdim=True), 4))
    assert found["digit"] - max(found["background"], found["foreground"]) >= 0.3


def test_swapping_a_factor_changes_only_its_concept(fitted):
    explanation = Explanation("layer", fitted.autoencoder, None, fitted.e, HeldOut(fitted.held_out, None))
    rates = edit_rates(explanation, trained_judge(fitted), n=500)
    print(rates)
    for swapped, judged in rates.items():
        for name, rate in judged.items():
            assert (rate >= 0.8) if name == swapped else (rate <= 0.2), (swapped, name, rate)

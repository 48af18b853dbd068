"""Studies whose outcome is known: slow ones that share one Explainer, so that one worker runs them."""

import pytest
import torch
from torch import nn

from invkit import Explainer
from invkit.data import color_digits
from invkit.studies import comparison, dynamics, layers, sanity

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shared(quick, tmp_path_factory):
    """An Explainer of coloured digits."""
    images, held_out = color_digits("train", copies=4), color_digits("test", copies=2)
    return Explainer(images, held_out=held_out, settings=quick, cache=tmp_path_factory.mktemp("studies"))


class Fewer(nn.Module):
    """Keeps a small image, the colours of its quarters, its mean colour."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.AdaptiveAvgPool2d(n) for n in (7, 2, 1))

    def forward(self, x):
        return self.third(self.second(self.first(x))).flatten(1)


class Background(nn.Module):
    """Keeps the colour of the first pixel."""

    def forward(self, x):
        return x[:, :, 0, 0]


class Centre(nn.Module):
    """Return a mixture of where the ink is, whatever its colour, and of the mean colour: `turn` from 0 to 1."""

    def __init__(self, turn):
        super().__init__()
        self.turn, self.seen = turn, nn.Identity()

    def forward(self, x):
        corner = x[:, :, :2, :2].mean((2, 3), keepdim=True)
        ink = nn.functional.adaptive_avg_pool2d((x - corner).square().sum(1, keepdim=True).sqrt(), 7).flatten(1)
        ink = ink / ink.norm(dim=1, keepdim=True).clamp(min=1e-6)
        return self.seen(torch.cat([self.turn * ink, (1 - self.turn) * corner.flatten(1)], 1))


@pytest.mark.long
def test_a_layer_that_keeps_only_the_background(shared):
    explanation = shared.explain(nn.Sequential(Background()), "0", preprocess=lambda x: x)
    found = {name: share.value for name, share in explanation.concepts().items()}
    print(found)
    assert found["background"] - max(found["digit"], found["foreground"]) >= 0.3


@pytest.mark.long
def test_invariance_grows_if_each_layer_keeps_a_part_of_the_one_before(shared):
    study = layers(shared, Fewer(), ["first", "second", "third"], preprocess=lambda x: x)
    print(study)
    assert study.holds
    assert study.headline["last less first"].value > 0.1


def test_the_share_of_the_digit_grows_as_checkpoints_turn_from_colour_to_ink(shared):
    study = dynamics(
        shared, {step: Centre(step / 10) for step in (0, 10)}, "seen", task="digit", preprocess=lambda x: x
    )
    print(study)
    assert study.headline["growth of digit"].value > 0.1
    assert study.headline["growth of background"].value < -0.1


@pytest.mark.long
def test_samples_beat_regressed_images_if_a_layer_keeps_only_the_background(shared):
    """Digit and its colour are free, so that regression returns one blur for all."""

    study = comparison(shared, nn.Sequential(Background()), "0", latent_dim=64, preprocess=lambda x: x)
    print(study)
    assert study.holds


@pytest.mark.long
def test_randomised_weights_change_the_explanation_of_brightness_and_shuffled_pairs_give_none(shared):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 7, 7), nn.Flatten(), nn.Linear(128, 6))
    with torch.no_grad():
        network[0].weight.fill_(0.02)  # brightness alone, in 16 places; randomised, it has 8 ways to look
        network[2].weight.copy_(torch.randn(6, 1) * torch.randn(16, 1).expand(16, 8).T.flatten() / 8)
    study = sanity(shared, network, "2", stages=1, preprocess=lambda x: x)
    print(study)
    assert study.holds
    shuffled = study.headline["gain from z, shuffled pairs"]
    assert shuffled.value < 0.01

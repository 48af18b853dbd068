"""Preprocessing: normalisation, conversion to grey, and the inverse."""

from dataclasses import replace

import pytest
import torch
from torchvision.transforms.functional import rgb_to_grayscale

from invkit.errors import SettingsError
from invkit.interpretees import Preprocess

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_inverse_undoes_the_normalisation():
    preprocess = Preprocess(16, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    torch.testing.assert_close(preprocess.inverse(preprocess(IMAGES)), IMAGES)
    assert preprocess(torch.rand(2, 3, 40, 40)).shape == (2, 3, 16, 16)


@pytest.mark.parametrize(
    "options", [{"channels": 1}, {"mean": (0.4,)}, {"std": [0.2]}, {"mean": (0.4,), "std": (0.2,), "channels": 1}]
)
def test_one_mean_one_std_or_one_channel_means_grey(options):
    preprocess = Preprocess(**options)
    mean, std = options.get("mean", [0.0])[0], options.get("std", [1.0])[0]
    assert (preprocess.channels, preprocess.mean, preprocess.std) == (1, (mean,), (std,))
    # torchvision's weights are rounded to four digits
    torch.testing.assert_close(preprocess(IMAGES) * std + mean, rgb_to_grayscale(IMAGES), atol=2e-4, rtol=0)


def test_the_inverse_of_grey_has_three_equal_channels():
    preprocess, grey = Preprocess(mean=(0.4,), std=(0.2,)), IMAGES[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(preprocess.inverse(preprocess(grey)), grey)
    found = preprocess.inverse(preprocess(IMAGES))
    assert torch.equal(found[:, 0], found[:, 1])
    found[:, 0] = 0  # no memory is shared between the channels
    assert found[:, 1].any()


def test_images_are_resized_to_a_height_and_a_width():
    assert Preprocess([20, 12], channels=1)(IMAGES).shape == (2, 1, 20, 12)
    assert Preprocess([20, 12]).shape == (20, 12)


def test_gradients_reach_all_three_channels_of_a_grey_preprocessing():
    images = IMAGES.clone().requires_grad_()
    Preprocess(8, channels=1)(images).sum().backward()
    assert (images.grad.flatten(2).abs().sum(2) > 0).all()


def test_the_text_of_a_preprocessing_makes_it_again():
    for preprocess in (Preprocess(), Preprocess(channels=1), Preprocess((8, 9), (0.1, 0.2, 0.3), mode="bicubic")):
        assert eval(repr(preprocess)) == preprocess
        assert hash(replace(preprocess, size=8)) != hash(preprocess)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "px > 0"),
        ({"size": (32, -1)}, "px > 0"),
        ({"size": (32, 32, 3)}, "height, width"),
        ({"size": 1.5}, "height, width"),
        ({"size": "32"}, "height, width"),
        ({"mean": 0.5}, "`mean` holds one number for each channel"),
        ({"std": "abc"}, "`std` holds one number"),
        ({"mean": (float("nan"),)}, "`mean` holds one number"),
        ({"mean": (0.5, 0.5)}, "Got: 2 channels.*a function of your own"),
        ({"channels": 4}, "Got: 4 channels.*a function of your own"),
        ({"channels": 0}, "Got: 0 channels"),
        ({"channels": 3, "mean": (0.5,)}, "`mean` has another number.*3 values.*Got: 1.*channels=1"),
        ({"mean": (0.5,), "std": (1, 1, 1)}, "`std` has another number.*1 value"),
        ({"std": (1, 0, 1)}, "`std` must be positive"),
        ({"mode": "nearest"}, "bilinear or bicubic"),
    ],
)
def test_bad_arguments_are_refused_at_construction(options, words):
    with pytest.raises(SettingsError, match=words):
        Preprocess(**options)

import numpy as np
import pytest
import torch

from invkit.data import Concept, ImageSet
from invkit.errors import DataError, SettingsError
from invkit.evaluation.estimate import mean_estimate
from invkit.studies.stylise import _draw_styles, cue_conflict, stylised


def smooth(n, size=16, seed=0):
    """Images well within [0, 1], so that nothing is clamped."""
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + 0.02 * torch.randn(n, 3, size, size, generator=generator)


def labelled(n=40, classes=4):
    values = torch.arange(n) % classes
    return ImageSet(smooth(n), {"class": Concept("class", values, tuple("abcd"))})


@pytest.mark.parametrize("size", [16, 15])
def test_the_result_has_the_styles_amplitude_and_the_images_phase(size):
    x, style = smooth(2, size), smooth(2, size, seed=1)
    made = np.fft.fft2(stylised(x, style).double().numpy())
    own, theirs = (np.fft.fft2(images.double().numpy()) for images in (x, style))
    np.testing.assert_allclose(np.abs(made), np.abs(theirs), atol=1e-3)
    large = np.abs(theirs) > 0.05
    np.testing.assert_allclose((made / np.abs(made))[large], (own / np.abs(own))[large], atol=1e-2)


def test_strength_one_half_mixes_amplitudes_equally():
    x, style = smooth(2), smooth(2, seed=1)
    made = np.abs(np.fft.fft2(stylised(x, style, 0.5).double().numpy()))
    own, theirs = (np.abs(np.fft.fft2(images.double().numpy())) for images in (x, style))
    np.testing.assert_allclose(made, (own + theirs) / 2, atol=1e-3)


def test_strength_0_returns_the_image():
    x = torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(stylised(x, torch.rand(3, 3, 16, 16), 0.0), x, atol=1e-5, rtol=0)


def test_an_image_in_its_own_style_is_itself():
    x = torch.rand(3, 3, 15, 15)
    torch.testing.assert_close(stylised(x, x), x, atol=1e-5, rtol=0)


def test_the_result_stays_within_0_and_1():
    made = stylised(torch.rand(8, 3, 16, 16).round(), torch.rand(8, 3, 16, 16).round())
    assert made.min() >= 0
    assert made.max() <= 1


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_out_of_range_raises(strength):
    with pytest.raises(SettingsError, match="strength"):
        stylised(smooth(1), smooth(1), strength)


def test_shape_and_texture_are_the_classes_of_content_and_style():
    data = labelled()
    made = cue_conflict(data, seed=3, copies=2)
    assert torch.equal(made.concepts["shape"].values, data.concepts["class"].values.repeat(2))
    style_of = made.concepts["texture"].values
    own_mean = data.images().mean((2, 3))  # the mean of a channel is part of the amplitude
    means = made.images().mean((2, 3))
    nearest = torch.cdist(means, own_mean).argmin(1)
    assert (data.concepts["class"].values[nearest] == style_of).float().mean() > 0.9


def test_shape_and_texture_are_drawn_independently():
    data = labelled(4000)
    made = cue_conflict(data, seed=0)
    joint = torch.zeros(4, 4).index_put_(
        (made.concepts["shape"].values, made.concepts["texture"].values), torch.tensor(1.0), accumulate=True
    )
    expected = 4000 / 16
    chi_squared = float(((joint - expected) ** 2 / expected).sum())
    assert chi_squared < 30.6  # 15 degrees of freedom, 1 %


@pytest.mark.parametrize("copies", [1, 3])
def test_images_share_contents_and_styles_within_their_group_alone(copies):
    n = 41
    kind = Concept("class", torch.arange(n), tuple(map(str, range(n))))  # each image a class, to know it again
    made = cue_conflict(ImageSet(smooth(n), {"class": kind}), copies=copies)
    shape, texture = (made.concepts[name].values for name in ("shape", "texture"))
    assert (shape != texture).all()
    assert (shape.bincount() == copies).all()
    assert made.groups.unique().tolist() == list(range(n // (copies + 1)))
    for each in (shape, texture):
        assert all(len(made.groups[each == k].unique()) <= 1 for k in range(n))
    whole = made.groups != made.groups.max()  # the last block takes what is left over
    assert (texture[whole].bincount(minlength=n) <= copies).all()
    assert len(set(zip(shape.tolist(), texture.tolist(), strict=True))) == copies * n


def test_images_of_one_original_have_styles_of_others_and_one_group():
    original = torch.arange(60) // 3
    kind = Concept("class", original, tuple(map(str, range(20))))
    made = cue_conflict(ImageSet(smooth(60), {"class": kind}, original), copies=2)
    shape, texture = (made.concepts[name].values for name in ("shape", "texture"))
    assert (shape != texture).all()
    for each in (shape, texture):
        assert all(len(made.groups[each == k].unique()) == 1 for k in range(20))


@pytest.mark.parametrize("copies", [1, 8])
def test_the_error_of_what_depends_on_the_style_is_its_spread(copies):
    values, errors = [], []
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        effect = torch.randn(90, generator=generator)
        styles, blocks = _draw_styles(torch.arange(90), copies, generator)
        found = mean_estimate(effect[styles], blocks.repeat(copies))
        values.append(found.value)
        errors.append(found.standard_error)
    assert sum(errors) / len(errors) == pytest.approx(float(torch.tensor(values).std()), rel=0.25)


def test_copies_of_one_content_are_one_group_and_the_seed_decides_the_styles():
    data = labelled()
    first, again, other = (cue_conflict(data, seed, copies=2) for seed in (0, 0, 1))
    assert torch.equal(first.groups[:40], first.groups[40:])
    assert torch.equal(first.pixels, again.pixels)
    assert not torch.equal(first.pixels, other.pixels)


def test_fewer_images_than_styles_raise():
    with pytest.raises(DataError, match=r"Too few images to take styles from.*9 groups.*8"):
        cue_conflict(labelled(8), copies=8)


def test_images_without_classes_raise():
    with pytest.raises(DataError, match="Cue conflicts"):
        cue_conflict(ImageSet(smooth(8)))

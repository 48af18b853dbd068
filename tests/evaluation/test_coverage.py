"""Coverage of neighbours by samples of a layer that keeps a known part of the code."""

import pytest
import torch

from invkit.evaluation import coverage


@pytest.fixture(scope="module")
def halves():
    """Codes of 8 numbers of which z has the first two; samples that keep z and draw the rest."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(500, 8, generator=generator)
    samples = torch.randn(500, 12, 8, generator=generator)
    samples[..., :2] = codes[:, None, :2]
    return codes[:, :2], codes, samples


def test_true_samples_cover_neighbours_better_than_random_images(halves):
    z, codes, samples = halves
    found = coverage(z, codes, samples)
    assert found.covered.value > 0.6
    assert found.neighbours_open.value == pytest.approx(6 / 8, abs=0.05)


def test_samples_that_ignore_z_cover_by_chance_and_collapsed_ones_less(halves):
    z, codes, samples = halves
    ignoring = coverage(z, codes, torch.randn(samples.shape))
    assert abs(ignoring.covered.value - 0.5) < 4 * ignoring.covered.standard_error
    collapsed = coverage(z, codes, samples[:, :1].expand_as(samples))
    assert collapsed.covered.value < 0.3


def test_images_of_one_group_are_not_neighbours():
    codes = torch.randn(100, 4)
    twice, groups = codes.repeat(2, 1), torch.arange(100).repeat(2)
    samples = torch.randn(200, 6, 4)
    apart, alone = coverage(twice, twice, samples, groups), coverage(twice, twice, samples)
    assert alone.neighbours_open.value < apart.neighbours_open.value  # else each has itself next to it
    other = torch.arange(200, 400).repeat_interleave(4)[:200]
    blocks = torch.randn(50, 4).repeat_interleave(4, 0)  # four copies of each, at one place
    found = coverage(torch.randn(200, 3), blocks, samples, other)
    assert found.neighbours_open.value == pytest.approx(1, abs=0.1)  # none of them twice among the neighbours

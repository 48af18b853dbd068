"""The Fréchet distance against torchmetrics; its standard errors against repetition."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from invkit.evaluation import frechet_difference, frechet_distance


def test_frechet_distance_equals_torchmetrics():
    class Same(nn.Module):
        num_features = 6

        def forward(self, x):
            return x

    a, b = torch.randn(200, 6).double(), (1.5 * torch.randn(300, 6) + 0.3).double()
    metric = FrechetInceptionDistance(feature=Same()).set_dtype(torch.float64)
    metric.update(a, real=True)
    metric.update(b, real=False)
    assert frechet_distance(a, b).value == pytest.approx(metric.compute().item(), rel=1e-5)
    assert frechet_distance(a, a).value == pytest.approx(0, abs=1e-6)


def test_standard_error_equals_the_spread_over_draws():
    a = torch.randn(4000, 4)
    found = [frechet_distance(a, 1.3 * torch.randn(400, 4) + 0.2, independent=True) for _ in range(60)]
    spread = np.std([e.value for e in found])
    assert np.mean([e.standard_error for e in found]) == pytest.approx(spread, rel=0.3)


def test_frechet_standard_error_needs_two_groups():
    real, made = torch.randn(60, 4), torch.randn(60, 4) + 1
    two = frechet_distance(real, made, torch.arange(60) % 2)
    assert 0 < two.standard_error < 1
    one = frechet_distance(real, made, torch.zeros(60, dtype=torch.long))
    assert one.value == pytest.approx(two.value)
    assert math.isnan(one.standard_error)


def classes(n=300, sort=False, apart=2):
    """Return features of images of six classes, sorted or shuffled."""
    centres = apart * torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    of = torch.randint(6, (n,))
    return centres[of.sort().values if sort else of] + torch.randn(n, 4)


def spread_and_error(estimate, repeats=80):
    """Return the standard deviation of an estimate over draws, and the mean of its standard errors."""
    found = [estimate() for _ in range(repeats)]
    return np.std([each.value for each in found]), np.mean([each.standard_error for each in found])


@pytest.mark.parametrize("sort", [False, True], ids=["as drawn", "sorted by class"])
def test_standard_error_does_not_depend_on_the_order_of_rows(sort):
    def estimate():
        return frechet_distance(classes(sort=sort, apart=8), classes(sort=sort, apart=6), independent=True)

    spread, error = spread_and_error(estimate)
    assert error == pytest.approx(spread, rel=0.4)


def faithful(real):
    return real + 0.7 * torch.randn(real.shape)


def shrunk(real):
    return 0.7 * real


def half_lost(real):
    return real * torch.tensor([1.0, 1, 0, 0])


@pytest.mark.parametrize("remade", [faithful, shrunk, half_lost])
def test_standard_error_accounts_for_paired_rows(remade):
    def estimate():
        real = classes()
        return frechet_distance(real, remade(real))

    spread, error = spread_and_error(estimate)
    assert error == pytest.approx(spread, rel=0.4)


def test_repeated_rows_are_left_out_together():
    def estimate():
        real, rows = classes(), torch.randint(300, (400,))
        return frechet_distance(real, half_lost(real[rows]), (None, rows))

    spread, error = spread_and_error(estimate)
    assert error == pytest.approx(spread, rel=0.4)


def test_difference_of_distances_has_a_smaller_error_than_two_independent_ones():
    def estimate():
        real = classes()
        return frechet_difference(real, 0.6 * real, shrunk(real))

    spread, error = spread_and_error(estimate)
    assert error == pytest.approx(spread, rel=0.4)
    real = classes()
    difference = frechet_difference(real, 0.6 * real, shrunk(real))
    apart = frechet_distance(real, 0.6 * real) - frechet_distance(real, shrunk(real))
    assert difference.value == pytest.approx(apart.value)
    assert difference.standard_error < 0.7 * apart.standard_error

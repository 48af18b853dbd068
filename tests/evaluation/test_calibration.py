"""v of held-out images, where its distribution is known."""

import pytest
import torch
from scipy.stats import kstest, kstwo

from invkit.evaluation import calibration


def test_a_standard_normal_is_calibrated():
    found = calibration(torch.randn(2000, 16))
    assert abs(found.energy.value - 1) < 3 * found.energy.standard_error
    assert found.ks == pytest.approx(found.ks_of_normal, rel=0.3)
    assert found.rejected <= 1 / 16
    assert found.correlation < 0.01


def test_too_wide_a_spread_shifts_and_correlations_each_show():
    v = torch.randn(2000, 16)
    assert calibration(1.5 * v).energy.value == pytest.approx(2.25, abs=0.1)
    assert calibration(v + 1).rejected == 1.0
    together = 0.6**0.5 * v + 0.4**0.5 * torch.randn(2000, 1)
    assert calibration(together).correlation == pytest.approx(0.4, abs=0.03)
    assert calibration(together).rejected <= 2 / 16  # each dimension by itself is normal


def test_the_distance_is_scipys_and_copies_of_an_image_count_once_in_tests():
    v = torch.randn(50, 3)
    expected = sum(kstest(column.numpy(), "norm").statistic for column in v.double().T) / 3
    assert calibration(v).ks == pytest.approx(expected)
    assert calibration(v).ks_of_normal == pytest.approx(kstwo.mean(50), rel=0.01)
    copies = v.repeat_interleave(4, 0)
    assert calibration(copies, torch.arange(50).repeat_interleave(4)).ks == pytest.approx(expected)
    assert calibration(copies, torch.arange(50).repeat_interleave(4)).energy.standard_error == pytest.approx(
        calibration(v).energy.standard_error
    )

"""Calibration of v with a known distribution."""

import pytest
import torch
from scipy.stats import kstest, kstwo

from invkit.evaluation import calibration


def test_standard_normal_v_is_calibrated():
    found = calibration(torch.randn(2000, 16))
    assert abs(found.energy.value - 1) < 3 * found.energy.standard_error
    assert found.ks == pytest.approx(found.ks_of_normal, rel=0.3)
    assert found.rejected <= 1 / 16
    assert found.correlation < 0.01


def test_detects_scale_shift_and_correlation():
    v = torch.randn(2000, 16)
    assert calibration(1.5 * v).energy.value == pytest.approx(2.25, abs=0.1)
    assert calibration(v + 1).rejected == 1.0
    together = 0.6**0.5 * v + 0.4**0.5 * torch.randn(2000, 1)
    assert calibration(together).correlation == pytest.approx(0.4, abs=0.03)
    assert calibration(together).rejected <= 2 / 16  # each dimension by itself is normal


def test_ks_equals_scipys_and_uses_one_image_per_group():
    v = torch.randn(50, 3)
    expected = sum(kstest(column.numpy(), "norm").statistic for column in v.double().T) / 3
    assert calibration(v).ks == pytest.approx(expected)
    assert calibration(v).ks_of_normal == pytest.approx(kstwo.mean(50), rel=0.01)
    copies = v.repeat_interleave(4, 0)
    assert calibration(copies, torch.arange(50).repeat_interleave(4)).ks == pytest.approx(expected)
    assert calibration(copies, torch.arange(50).repeat_interleave(4)).energy.standard_error == pytest.approx(
        calibration(v).energy.standard_error
    )

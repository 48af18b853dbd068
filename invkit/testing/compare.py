"""Comparisons with messages of one line. `assert` is not used: the kit must also work under ``python -O``."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["distance", "expect", "expect_close", "expect_within"]


def expect(condition: bool, message: str) -> None:
    """Raise AssertionError with the message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def distance(actual: Tensor, expected: Tensor) -> float:
    """Return the largest |actual − expected|, or inf for different shapes; NaN and infinity only equal themselves."""
    if actual.shape != expected.shape:
        return math.inf
    if actual.numel() == 0:
        return 0.0
    a, b = actual.detach().double().cpu(), expected.detach().double().cpu()
    same = (a == b) | (a.isnan() & b.isnan())
    return float(torch.where(same, 0.0, a - b).abs().nan_to_num(nan=math.inf, posinf=math.inf).max())


def expect_within(actual: Tensor, expected: Tensor, atol: float, what: str) -> None:
    """Raise AssertionError if the largest absolute difference exceeds `atol`."""
    if actual.shape != expected.shape:
        raise AssertionError(f"{what}: shape {tuple(actual.shape)} instead of {tuple(expected.shape)}")
    error = distance(actual, expected)
    expect(error <= atol, f"{what}: they differ by {error:.2g}, more than {atol:.0e}")


def expect_close(actual: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    """Raise AssertionError if the largest difference exceeds `tolerance` times the largest finite expected value."""
    finite = expected.detach()[expected.detach().isfinite()]
    largest = float(finite.abs().max()) if len(finite) else 0.0
    expect_within(actual, expected, tolerance * (largest or 1.0), what)

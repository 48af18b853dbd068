"""Comparisons that say in one line what is wrong. No `assert`: the kit must also work under ``python -O``."""

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
    """Return the largest |actual − expected|, inf for another shape; NaN and infinity equal themselves only."""
    if actual.shape != expected.shape:
        return math.inf
    if actual.numel() == 0:
        return 0.0
    a, b = actual.detach().double().cpu(), expected.detach().double().cpu()
    same = (a == b) | (a.isnan() & b.isnan())
    return float(torch.where(same, 0.0, a - b).abs().nan_to_num(nan=math.inf, posinf=math.inf).max())


def expect_within(actual: Tensor, expected: Tensor, atol: float, what: str) -> None:
    """Expect a largest absolute difference of at most `atol`."""
    if actual.shape != expected.shape:
        raise AssertionError(f"{what}: shape {tuple(actual.shape)} instead of {tuple(expected.shape)}")
    error = distance(actual, expected)
    expect(error <= atol, f"{what}: they differ by {error:.2g}, more than {atol:.0e}")


def expect_close(actual: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    """Expect a largest difference of at most `tolerance` times the largest finite value: activations have any scale."""
    finite = expected.detach()[expected.detach().isfinite()]
    largest = float(finite.abs().max()) if len(finite) else 0.0
    expect_within(actual, expected, tolerance * (largest or 1.0), what)

"""Numbers with standard errors."""

import copy
import math
import operator
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch

from invkit.core import Estimate

A, B = Estimate(3.0, 0.03, 50), Estimate(-2.0, 0.04, 40)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (lambda a, b: a + b, (1.0, 0.05, 40)),
        (lambda a, b: a - b, (5.0, 0.05, 40)),
        (lambda a, b: b - a, (-5.0, 0.05, 40)),
        (lambda a, b: a * b, (-6.0, math.hypot(0.03 * 2, 0.04 * 3), 40)),
        (lambda a, b: a / b, (-1.5, 1.5 * math.hypot(0.03 / 3, 0.04 / 2), 40)),
        (lambda a, b: b / a, (-2 / 3, 2 / 3 * math.hypot(0.03 / 3, 0.04 / 2), 40)),
        (lambda a, _: -a, (-3.0, 0.03, 50)),
        (lambda _, b: abs(b), (2.0, 0.04, 40)),
        (lambda a, _: a + 1, (4.0, 0.03, 50)),
        (lambda a, _: 1 + a, (4.0, 0.03, 50)),
        (lambda a, _: a - 1, (2.0, 0.03, 50)),
        (lambda a, _: 1 - a, (-2.0, 0.03, 50)),
        (lambda a, _: a * -2, (-6.0, 0.06, 50)),
        (lambda a, _: -2 * a, (-6.0, 0.06, 50)),
        (lambda a, _: a / -2, (-1.5, 0.015, 50)),
        (lambda a, _: 6 / a, (2.0, 0.02, 50)),
        (lambda a, b: sum([a, b]), (1.0, 0.05, 40)),
        (lambda a, b: (a + b + a) / 3, (4 / 3, math.hypot(0.03, 0.04, 0.03) / 3, 40)),
    ],
)
def test_arithmetic_propagates_errors_to_first_order(operation, expected):
    found = operation(A, B)
    assert isinstance(found, Estimate)
    assert (found.value, found.standard_error, found.n) == pytest.approx(expected)


@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul, operator.truediv])
def test_errors_are_those_of_simulated_independent_draws(operation):
    draws = np.random.default_rng(0).normal(size=(2, 400_000))
    a, b = A.value + A.standard_error * draws[0], B.value + B.standard_error * draws[1]
    found, drawn = operation(A, B), operation(a, b)
    assert found.value == pytest.approx(drawn.mean(), abs=2e-3)
    assert found.standard_error == pytest.approx(drawn.std(), rel=5e-3)


def test_other_kinds_of_real_numbers_are_exact():
    for two in (2, 2.0, True + True, np.float64(2), np.float32(2), np.int64(2), Fraction(2)):
        for found in (A * two, two * A):
            assert isinstance(found, Estimate)
            assert (found.value, found.standard_error, found.n) == pytest.approx((6.0, 0.06, 50))
        assert two < A < 2 * two
        assert two < A
        assert (two - A).value == pytest.approx(-1.0)
        assert (two / A).value == pytest.approx(2 / 3)


def test_an_array_times_an_estimate_is_an_array_of_estimates():
    for found in (np.array([1.0, 2.0]) * A, A * np.array([1.0, 2.0])):
        assert found.dtype == object
        assert [each.value for each in found] == [3.0, 6.0]
        assert found[1].standard_error == pytest.approx(0.06)


@pytest.mark.parametrize("other", ["2", None, [2.0], torch.ones(2), 2j])
@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul, operator.truediv, operator.lt])
def test_what_is_no_real_number_is_refused(operation, other):
    with pytest.raises(TypeError):
        operation(A, other)
    with pytest.raises(TypeError):
        operation(other, A)


def test_it_is_ordered_by_value():
    low, high = Estimate(0.2, 0.5, 9), Estimate(0.9, 0.1, 9)
    assert sorted([high, 0.5, low]) == [low, 0.5, high]
    assert max(low, high) is high
    assert low < high
    assert low <= high
    assert high > low
    assert high >= low
    assert low <= Estimate(0.2, 0.1, 3) <= low  # whatever the errors
    assert not low < 0.2
    assert low >= 0.2
    unknown = Estimate(math.nan, math.nan, 1)
    assert not unknown < 1
    assert not unknown >= 1


def test_it_is_equal_and_has_the_hash_of_an_estimate_with_the_same_numbers():
    same = Estimate(3.0, 0.03, 50)
    assert same == A
    assert hash(A) == hash(same)
    assert len({A, same, B}) == 2
    assert Estimate(3.0, 0.04, 50) != A
    assert Estimate(3.0, 0.03, 51) != A
    assert A != 3.0
    assert copy.deepcopy(A) == A == pickle.loads(pickle.dumps(A))


def test_it_is_a_number_for_numpy_torch_and_math():
    assert float(A) == 3.0
    np.testing.assert_array_equal(np.asarray([A, B], float), [3.0, -2.0])
    np.testing.assert_array_equal(np.array([[A], [B]], dtype=np.float32), [[3.0], [-2.0]])
    assert torch.tensor([float(A), float(B)]).tolist() == [3.0, -2.0]
    assert math.sqrt(Estimate(4.0, 0.1, 2)) == 2.0
    assert math.isclose(np.mean([float(x) for x in (A, B)]), 0.5)
    assert pytest.approx(3.0) == float(A)


def test_its_format_is_that_of_its_numbers():
    share = Estimate(0.7126, 0.03124, 600)
    assert str(share) == repr(share) == f"{share}" == "0.713 ± 0.031"
    assert f"{share:.1%}" == "71.3% ± 3.1%"
    assert f"{share:+.2f}" == "+0.71 ± +0.03"
    assert f"{share:.2e}" == "7.13e-01 ± 3.12e-02"
    assert str(Estimate(0.5, math.nan, 1)) == "0.500 ± nan"
    with pytest.raises(ValueError, match="format"):
        f"{share:s}"


def test_an_unknown_error_stays_unknown():
    unknown = Estimate(0.5, math.nan, 1)
    assert A.is_known
    for found in (unknown, unknown + A, A * unknown, unknown / 2, 1 - unknown, Estimate(math.inf, 0.0, 2)):
        assert not found.is_known
    assert (unknown + 1).value == 1.5


def test_division_by_zero_is_that_of_numbers():
    with pytest.raises(ZeroDivisionError):
        _ = A / 0
    with pytest.raises(ZeroDivisionError):
        _ = 1 / Estimate(0.0, 0.1, 3)
    assert (Estimate(0.0, 0.1, 3) / 2).standard_error == 0.05


def test_it_cannot_be_changed():
    with pytest.raises(AttributeError):
        A.value = 1.0


@pytest.mark.parametrize(
    ("value", "error", "more", "expected"),
    [
        (1.0, 0.4, {}, True),
        (1.0, 0.6, {}, None),
        (-1.0, 0.4, {}, False),
        (-1.0, 0.6, {}, None),
        (1.0, 0.4, {"least": 0.5}, None),
        (1.0, 0.4, {"least": 2.0}, False),
        (1.0, 0.4, {"errors": 3.0}, None),
        (0.001, 0.004, {}, None),
        (0.001, 0.004, {"nothing": 0.02}, False),
        (0.010, 0.004, {"nothing": 0.02}, None),  # surely above 0, and surely by less than 0.02
        (0.030, 0.004, {"nothing": 0.02}, True),
        (0.0, 0.0, {}, None),
        (1.0, math.nan, {}, None),
        (math.nan, 0.1, {}, None),
        (math.inf, 0.1, {}, None),
    ],
)
def test_an_estimate_exceeds_a_number_does_not_or_leaves_it_open(value, error, more, expected):
    assert Estimate(value, error, 9).exceeds(**more) is expected

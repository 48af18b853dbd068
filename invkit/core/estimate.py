"""A number with its standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

__all__ = ["Estimate"]


@dataclass(frozen=True, repr=False)
class Estimate:
    """A number with its standard error, shown as ``0.710 ± 0.012``.

    It behaves like the number that it estimates: `float()`, order by value and arithmetic work with numbers and with
    other estimates. Standard errors are propagated to first order, with estimates taken as independent (so `x - x` has
    the value 0, not the error 0); `n` of a result is the smallest of its operands. Two estimates are equal if value,
    error and `n` are.

    Attributes:
        value: the estimate.
        standard_error: standard error of the value, in the same unit; NaN if unknown.
        n: number of samples behind it.

    Example:
        >>> from invkit import Estimate
        >>> share = Estimate(0.71, 0.03, n=600)
        >>> share
        0.710 ± 0.030
        >>> f"{share:.1%}", float(share), share > 0.5
        ('71.0% ± 3.0%', 0.71, True)
        >>> share - Estimate(0.31, 0.04, n=600)
        0.400 ± 0.050
        >>> 1 - 2 * share
        -0.420 ± 0.060
        >>> max(share, Estimate(0.31, 0.04, n=600))
        0.710 ± 0.030
    """

    value: float
    standard_error: float
    n: int

    def __float__(self) -> float:
        return float(self.value)

    def __lt__(self, other: Estimate | float) -> bool:
        return self.value < float(other) if _is_number(other) else NotImplemented

    def __le__(self, other: Estimate | float) -> bool:
        return self.value <= float(other) if _is_number(other) else NotImplemented

    def __gt__(self, other: Estimate | float) -> bool:
        return self.value > float(other) if _is_number(other) else NotImplemented

    def __ge__(self, other: Estimate | float) -> bool:
        return self.value >= float(other) if _is_number(other) else NotImplemented

    def __add__(self, other: Estimate | float) -> Estimate:
        if not _is_number(other):
            return NotImplemented
        b = self._exact(other)
        error = math.hypot(self.standard_error, b.standard_error)
        return Estimate(self.value + b.value, error, min(self.n, b.n))

    def __mul__(self, other: Estimate | float) -> Estimate:
        if not _is_number(other):
            return NotImplemented
        b = self._exact(other)
        error = math.hypot(self.standard_error * b.value, b.standard_error * self.value)
        return Estimate(self.value * b.value, error, min(self.n, b.n))

    def __truediv__(self, other: Estimate | float) -> Estimate:
        if not _is_number(other):
            return NotImplemented
        b = self._exact(other)
        ratio = self.value / b.value
        error = math.hypot(self.standard_error, ratio * b.standard_error) / abs(b.value)
        return Estimate(ratio, error, min(self.n, b.n))

    def __neg__(self) -> Estimate:
        return Estimate(-self.value, self.standard_error, self.n)

    def __abs__(self) -> Estimate:
        return Estimate(abs(self.value), self.standard_error, self.n)

    def __sub__(self, other: Estimate | float) -> Estimate:
        return self + -other if _is_number(other) else NotImplemented

    def __rsub__(self, other: float) -> Estimate:
        return -self + other if _is_number(other) else NotImplemented

    def __rtruediv__(self, other: float) -> Estimate:
        return self._exact(other) / self if _is_number(other) else NotImplemented

    __radd__, __rmul__ = __add__, __mul__

    def _exact(self, other: Estimate | float) -> Estimate:
        """Return a number as an estimate without error."""
        return other if isinstance(other, Estimate) else Estimate(float(other), 0.0, self.n)

    @property
    def is_known(self) -> bool:
        """Whether value and error are finite."""
        return math.isfinite(self.value + self.standard_error)

    def exceeds(self, least: float = 0.0, errors: float = 2.0, nothing: float = 0.0) -> bool | None:
        """Test whether the estimated number exceeds a threshold.

        Args:
            least: the threshold.
            errors: required distance from it, in standard errors.
            nothing: smallest excess that matters.

        Returns:
            True if it does, False if it does not, None if that is undecided: its error is unknown or too large, or a
            precise estimate exceeds the threshold by less than `nothing`.

        Example:
            >>> from invkit import Estimate
            >>> Estimate(0.9, 0.01, 600).exceeds(0.8), Estimate(0.81, 0.02, 600).exceeds(0.8)
            (True, None)
        """
        if not self.is_known:
            return None
        above, margin = self.value - least, errors * self.standard_error
        surely, hardly = above > margin, above < nothing - margin
        return None if surely == hardly else surely  # a precise number between the two is both

    def __format__(self, spec: str) -> str:
        """Return value and error, each formatted by the same specification; ``.3f`` by default."""
        spec = spec or ".3f"
        return f"{self.value:{spec}} ± {self.standard_error:{spec}}"

    def __repr__(self) -> str:
        return format(self)


def _is_number(other: object) -> bool:
    return isinstance(other, Estimate | Real)

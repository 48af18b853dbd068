"""A number with its standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Estimate"]


@dataclass(frozen=True, repr=False)
class Estimate:
    """A number with its standard error, shown as ``0.710 ± 0.012``.

    It behaves as the number that it estimates: `float()`, comparison by value and arithmetic work with numbers and with
    other estimates. Errors of sums, differences, products and quotients are propagated to first order, with estimates
    taken as independent. Two estimates are equal where value, error and `n` are.

    Attributes:
        value: the estimate.
        standard_error: of the value, in the same unit; NaN where it is unknown.
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
    """

    value: float
    standard_error: float
    n: int

    def __float__(self) -> float:
        return float(self.value)

    def __lt__(self, other: Estimate | float) -> bool:
        return self.value < float(other)

    def __le__(self, other: Estimate | float) -> bool:
        return self.value <= float(other)

    def __gt__(self, other: Estimate | float) -> bool:
        return self.value > float(other)

    def __ge__(self, other: Estimate | float) -> bool:
        return self.value >= float(other)

    def __add__(self, other: Estimate | float) -> Estimate:
        other = self._as_estimate(other)
        error = math.hypot(self.standard_error, other.standard_error)
        return Estimate(self.value + other.value, error, min(self.n, other.n))

    def __mul__(self, other: Estimate | float) -> Estimate:
        other = self._as_estimate(other)
        error = math.hypot(self.standard_error * other.value, other.standard_error * self.value)
        return Estimate(self.value * other.value, error, min(self.n, other.n))

    def __truediv__(self, other: Estimate | float) -> Estimate:
        other = self._as_estimate(other)
        ratio = self.value / other.value
        error = math.hypot(self.standard_error, ratio * other.standard_error) / abs(other.value)
        return Estimate(ratio, error, min(self.n, other.n))

    def __neg__(self) -> Estimate:
        return Estimate(-self.value, self.standard_error, self.n)

    def __abs__(self) -> Estimate:
        return Estimate(abs(self.value), self.standard_error, self.n)

    def __sub__(self, other: Estimate | float) -> Estimate:
        return self + -other

    def __rsub__(self, other: float) -> Estimate:
        return -self + other

    def __rtruediv__(self, other: float) -> Estimate:
        return self._as_estimate(other) / self

    __radd__, __rmul__ = __add__, __mul__

    def _as_estimate(self, other: Estimate | float) -> Estimate:
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
            True where it does; False where it does not; None where that is undecided: its error is unknown or too
            large, or a precise estimate exceeds the threshold by less than `nothing`.

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
        """Return value and error, each in a number's format; ``.3f`` is the default."""
        spec = spec or ".3f"
        return f"{self.value:{spec}} ± {self.standard_error:{spec}}"

    def __repr__(self) -> str:
        return format(self)

"""What a list of checks found, and when that is an error."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from invkit.errors import SettingsError

__all__ = ["CheckResult", "NotApplicableError", "Report", "conclude", "run_checks"]

Subject = TypeVar("Subject")
Outcome = Literal["passed", "failed", "expected", "skipped"]


class NotApplicableError(Exception):
    """Raised by a check that has nothing to check on this subject; its text says why."""


@dataclass(frozen=True)
class CheckResult:
    """How one check went.

    Attributes:
        name: of the check; what `expected_failures` takes.
        outcome: `expected` is a failure with a known reason; `skipped` had nothing to check.
        message: what is wrong, or what was looked at.
        seconds: how long it took.
        error: what the check raised.
    """

    name: str
    outcome: Outcome
    message: str
    seconds: float
    error: Exception | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Report:
    """How all checks of one subject went.

    Attributes:
        subject: what was checked.
        results: one for each check.
    """

    subject: str
    results: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed, but for those that are expected to."""
        return not any(result.outcome == "failed" for result in self.results)

    def __str__(self) -> str:
        count = {outcome: sum(r.outcome == outcome for r in self.results) for outcome in ("failed", "expected")}
        ran = sum(r.outcome != "skipped" for r in self.results)
        told = [f"{number} {word}" for word, number in count.items() if number] or ["none failed"]
        lines = [f"{self.subject}: {ran} checks ran, {', '.join(told)}"]
        width = max((len(r.name) for r in self.results), default=0)
        for r in self.results:
            shown = r.outcome.upper() if r.outcome == "failed" else r.outcome
            lines.append(f"  {shown:<8}  {r.name:<{width}}  {r.seconds:6.2f} s  {r.message}".rstrip())
        return "\n".join(lines)


def run_checks(
    checks: Mapping[str, Callable[[Subject], str | None]], subject: Subject, prefix: str = ""
) -> list[CheckResult]:
    """Run checks in order. The first is the ground of the others, which are not run where it fails.

    Args:
        checks: by name; a check raises where something is wrong, and may return what it looked at.
        subject: what is checked.
        prefix: put before each name.
    """
    results: list[CheckResult] = []
    for name, check in checks.items():
        if results and results[0].outcome == "failed":
            results.append(CheckResult(prefix + name, "skipped", f"not run, since {next(iter(checks))} failed", 0.0))
            continue
        start = time.perf_counter()
        outcome: Outcome = "passed"
        caught: Exception | None = None
        try:
            message = check(subject) or ""
        except NotApplicableError as reason:
            outcome, message = "skipped", str(reason)
        except AssertionError as error:
            outcome, message, caught = "failed", str(error), error
        except Exception as error:
            outcome, message, caught = "failed", f"{type(error).__name__}: {error}", error
        message = next(iter(message.splitlines()), "")
        results.append(CheckResult(prefix + name, outcome, message, time.perf_counter() - start, caught))
    return results


def conclude(
    subject: str,
    results: Sequence[CheckResult],
    expected_failures: Mapping[str, str] | None,
    raise_on_failure: bool,
) -> Report:
    """Make the report.

    Args:
        subject: what was checked.
        results: as the checks went.
        expected_failures: reason by name of check.
        raise_on_failure: whether a failure raises.

    Raises:
        AssertionError: a check failed that should not, or passed that should not.
        SettingsError: an expected failure names no check.
    """
    expected = dict(expected_failures or {})
    unknown = expected.keys() - {result.name for result in results}
    if unknown:
        raise SettingsError(
            f"`expected_failures` names no check: {', '.join(sorted(unknown))}",
            expected=", ".join(result.name for result in results),
        )
    report = Report(subject, tuple(_judged(result, expected.get(result.name)) for result in results))
    if raise_on_failure and not report.passed:
        cause = next((r.error for r in report.results if r.outcome == "failed" and r.error is not None), None)
        raise AssertionError(str(report)) from cause
    return report


def _judged(result: CheckResult, reason: str | None) -> CheckResult:
    if reason is None or result.outcome == "skipped":
        return result
    if result.outcome == "failed":
        return replace(result, outcome="expected", message=f"{reason} ({result.message})")
    return replace(result, outcome="failed", message="now passes: remove it from expected_failures")

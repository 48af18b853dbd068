"""Running checks, and the report of their results."""

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
    """Raised by a check that does not apply to the subject; the message gives the reason."""


@dataclass(frozen=True)
class CheckResult:
    """The result of one check.

    Attributes:
        name: name of the check, as in `expected_failures`.
        outcome: ``passed``, ``failed``, ``expected`` (a failure with a known reason) or ``skipped`` (not applicable).
        message: what is wrong, or what was checked.
        seconds: duration.
        error: exception that the check raised, if any.

    Example:
        >>> CheckResult("it_loads", "passed", "", 0.1).outcome
        'passed'
    """

    name: str
    outcome: Outcome
    message: str
    seconds: float
    error: Exception | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Report:
    """The results of all checks of one subject.

    Attributes:
        subject: what was checked.
        results: one result for each check.

    Example:
        >>> report = Report("plugin tiny", (CheckResult("it_loads", "failed", "No module named tiny", 0.1),))
        >>> report.passed
        False
        >>> print(report)
        plugin tiny: 1 checks ran, 1 failed
          FAILED    it_loads    0.10 s  No module named tiny
    """

    subject: str
    results: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed unexpectedly."""
        return not any(result.outcome == "failed" for result in self.results)

    def __str__(self) -> str:
        count = {outcome: sum(r.outcome == outcome for r in self.results) for outcome in ("failed", "expected")}
        ran = sum(r.outcome != "skipped" for r in self.results)
        counts = [f"{number} {word}" for word, number in count.items() if number] or ["none failed"]
        lines = [f"{self.subject}: {ran} checks ran, {', '.join(counts)}"]
        width = max((len(r.name) for r in self.results), default=0)
        for r in self.results:
            shown = r.outcome.upper() if r.outcome == "failed" else r.outcome
            lines.append(f"  {shown:<8}  {r.name:<{width}}  {r.seconds:6.2f} s  {r.message}".rstrip())
        return "\n".join(lines)


def run_checks(
    checks: Mapping[str, Callable[[Subject], str | None]], subject: Subject, prefix: str = ""
) -> list[CheckResult]:
    """Run checks in order. If the first one fails, the others are skipped.

    Args:
        checks: checks by name. A check raises if something is wrong, and may return what it checked.
        subject: what is checked.
        prefix: prefix of each name.
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
    """Return the report, or raise it as an error.

    Args:
        subject: what was checked.
        results: results of the checks.
        expected_failures: reasons by names of checks.
        raise_on_failure: whether a failure raises.

    Raises:
        AssertionError: a check failed unexpectedly, or an expected failure passed.
        SettingsError: an expected failure is not the name of a check.
    """
    expected = dict(expected_failures or {})
    unknown = expected.keys() - {result.name for result in results}
    if unknown:
        raise SettingsError(
            f"`expected_failures` names no check: {', '.join(sorted(unknown))}",
            expected=", ".join(result.name for result in results),
        )
    report = Report(subject, tuple(_with_reason(result, expected.get(result.name)) for result in results))
    if raise_on_failure and not report.passed:
        cause = next((r.error for r in report.results if r.outcome == "failed" and r.error is not None), None)
        raise AssertionError(str(report)) from cause
    return report


def _with_reason(result: CheckResult, reason: str | None) -> CheckResult:
    if reason is None or result.outcome == "skipped":
        return result
    if result.outcome == "failed":
        return replace(result, outcome="expected", message=f"{reason} ({result.message})")
    return replace(result, outcome="failed", message="now passes: remove it from expected_failures")

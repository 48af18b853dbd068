"""The text of a report, and when it raises."""

import pytest

from invkit.errors import SettingsError
from invkit.testing.report import NotApplicableError, conclude, run_checks


def fine(subject):
    return f"saw {subject}"


def wrong(subject):
    raise AssertionError("one\ntwo")


def broken(subject):
    raise ZeroDivisionError("zero")


def moot(subject):
    raise NotApplicableError("nothing there")


CHECKS = {"fine": fine, "wrong": wrong, "broken": broken, "moot": moot}
REASONS = {"wrong": "by design", "broken": "known"}


def test_each_outcome_has_a_message_and_the_first_line_counts_the_checks():
    report = conclude("thing", run_checks(CHECKS, "it"), {"wrong": "by design"}, raise_on_failure=False)
    assert [(r.name, r.outcome, r.message) for r in report.results] == [
        ("fine", "passed", "saw it"),
        ("wrong", "expected", "by design (one)"),
        ("broken", "failed", "ZeroDivisionError: zero"),
        ("moot", "skipped", "nothing there"),
    ]
    assert not report.passed
    assert str(report).splitlines()[0] == "thing: 3 checks ran, 1 failed, 1 expected"
    assert "FAILED    broken" in str(report)


def test_a_failure_raises_the_report_with_the_first_cause():
    with pytest.raises(AssertionError, match="thing: 3 checks ran, 2 failed") as error:
        conclude("thing", run_checks(CHECKS, "it"), None, raise_on_failure=True)
    assert str(error.value.__cause__) == "one\ntwo"


def test_expected_failures_do_not_raise():
    assert conclude("thing", run_checks(CHECKS, "it"), REASONS, raise_on_failure=True).passed


def test_an_expected_failure_that_passes_is_a_failure():
    with pytest.raises(AssertionError, match="now passes: remove it"):
        conclude("thing", run_checks(CHECKS, "it"), {**REASONS, "fine": "once"}, raise_on_failure=True)


def test_an_expected_failure_of_an_unknown_check_is_an_error():
    with pytest.raises(SettingsError, match="names no check: fnie"):
        conclude("thing", run_checks(CHECKS, "it"), {**REASONS, "fnie": "typo"}, raise_on_failure=True)


def test_the_other_checks_are_skipped_if_the_first_one_fails():
    results = run_checks({"wrong": wrong, "fine": fine}, "it", "thing: ")
    assert [(r.name, r.outcome) for r in results] == [("thing: wrong", "failed"), ("thing: fine", "skipped")]

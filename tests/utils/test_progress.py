"""Progress and messages: levels, silence, records without a terminal."""

import io
import logging
import subprocess
import sys

import pytest

import invkit
from invkit.errors import SettingsError
from invkit.utils import progress as progress_module
from invkit.utils.progress import Progress, format_bytes, format_time, log, logger, quiet


@pytest.fixture(autouse=True)
def at_info():
    before, handlers = logger.level, list(logger.handlers)
    invkit.set_verbosity("info")
    yield
    logger.setLevel(before)
    logger.handlers[:] = handlers


class Terminal(io.StringIO):
    def isatty(self):
        return True


def terminal_for(monkeypatch):
    """Put a terminal in place of stderr; in the test itself, since pytest replaces stderr after the fixtures."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    return sys.stderr


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", "one two three"),
        ("info", "two three"),
        ("WARNING", "three"),
        (logging.WARNING, "three"),
        ("error", ""),
    ],
)
def test_messages_are_shown_from_the_level_on(level, shown, capsys):
    invkit.set_verbosity(level)
    log("one", level=logging.DEBUG)
    log("two")
    log("three", level=logging.WARNING)
    assert capsys.readouterr().err.split() == shown.split()


@pytest.mark.parametrize("level", ["loud", "", None, True, 1.5])
def test_an_unknown_level_is_an_error_and_changes_nothing(level):
    with pytest.raises(SettingsError, match=r"verbosity.*Expected: .*info.*Got: "):
        invkit.set_verbosity(level)
    assert logger.level == logging.INFO


def test_quiet_hides_messages_and_bars_and_restores_the_level(monkeypatch):
    terminal = terminal_for(monkeypatch)

    def work():
        log("a message")
        log("a warning", level=logging.WARNING)
        Progress("training", 3).advance()
        raise KeyError

    with pytest.raises(KeyError), quiet():
        work()
    assert terminal.getvalue().strip() == "a warning"
    assert logger.level == logging.INFO
    invkit.set_verbosity("error")
    with quiet():  # is no louder than before
        assert logger.level == logging.ERROR


def test_a_terminal_shows_a_bar_with_the_note_and_the_time_left(monkeypatch):
    terminal = terminal_for(monkeypatch)
    bar = Progress("training", 4)
    bar.set_note("validation 0.5")
    for _ in range(3):
        bar.advance()
    bar._bar.refresh()
    shown = terminal.getvalue()
    assert "training" in shown
    assert "3/4" in shown
    assert "validation 0.5" in shown
    assert "<" in shown  # elapsed<left
    bar.close()
    assert terminal.getvalue().endswith("\r")  # nothing of the bar stays


@pytest.mark.parametrize("silent", ["verbosity", "show"])
def test_no_bar_is_shown_if_silent(silent, monkeypatch):
    terminal = terminal_for(monkeypatch)
    if silent == "verbosity":
        invkit.set_verbosity("warning")
    bar = Progress("training", 4, show=silent != "show")
    bar.advance(4)
    bar.close()
    assert terminal.getvalue() == ""
    assert bar.step == 4


def test_without_a_terminal_the_time_left_is_logged_every_fifteen_seconds(capsys, clock):
    bar = Progress("training", 100, start=20)
    bar.set_note("validation 0.5")
    for _ in range(40):
        clock[0] += 1.0
        bar.advance()
    bar.close()
    assert capsys.readouterr().err.splitlines() == [
        "training: 36/100, 64 s left validation 0.5",
        "training: 52/100, 48 s left validation 0.5",
    ]


def test_the_time_left_of_an_unknown_total_is_not_guessed(capsys, clock):
    bar = Progress("reading images", 0)
    clock[0] += 20
    bar.advance(7)
    bar.close()
    assert capsys.readouterr().err.splitlines() == ["reading images: 7"]


def test_no_process_but_the_main_one_shows_anything(monkeypatch, capsys, clock):
    monkeypatch.setattr("invkit.utils.distributed.is_main", lambda: False)
    log("a message")
    bar = Progress("training", 10)
    clock[0] += 20
    bar.advance()
    bar.close()
    assert capsys.readouterr().err == ""


def test_the_handler_can_be_replaced_by_ones_own(capsys):
    records = []

    class Own(logging.Handler):
        def emit(self, record):
            records.append(record.getMessage())

    logging.getLogger("invkit").handlers = [Own()]
    log("a message")
    assert records == ["a message"]
    assert capsys.readouterr().err == ""


def test_a_handler_and_a_level_from_before_the_import_stay(tmp_path):
    code = (
        "import logging\n"
        f"logging.getLogger('invkit').addHandler(logging.FileHandler({str(tmp_path / 'log')!r}))\n"
        "from invkit.utils.progress import log, logger\n"
        "log('a message')\n"
        "assert len(logger.handlers) == 1\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert (tmp_path / "log").read_text() == "a message\n"


def test_a_closed_stderr_does_not_end_a_run(monkeypatch):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    monkeypatch.setattr(logging, "raiseExceptions", False)  # as in production
    log("a message")


def test_sizes_and_times_are_readable():
    assert [format_bytes(size) for size in (0, 1023, 1024, 5 * 2**20, 1.5 * 2**30)] == [
        "0 B", "1023 B", "1 KiB", "5 MiB", "1.5 GiB",
    ]  # fmt: skip
    assert [format_time(s) for s in (0.4, 119, 120, 7200, 2 * 86_400)] == ["0 s", "119 s", "2 min", "2 h", "2 days"]

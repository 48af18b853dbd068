"""What long work shows: a bar with the time left on a terminal, log records elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from invkit.errors import SettingsError
from invkit.utils import distributed

__all__ = ["Progress", "format_bytes", "format_time", "log", "logger", "quiet", "set_verbosity"]

_LOG_EVERY = 15.0  # seconds between two records of a progress that has no terminal

#: all records of invkit pass through it
logger = logging.getLogger("invkit")


class _Stderr(logging.Handler):
    """Write records to stderr, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


if not logger.handlers:
    logger.addHandler(_Stderr())
    logger.setLevel(logging.INFO)
    logger.propagate = False


def set_verbosity(level: int | str) -> None:
    """Set what invkit shows while it works.

    Records go to the logger ``invkit``, whose handler writes them to stderr. To handle them yourself, add a handler to
    ``logging.getLogger("invkit")``.

    Args:
        level: of :mod:`logging`, as a name or a number: ``"info"`` shows progress bars and messages (default),
            ``"warning"`` neither.

    Raises:
        SettingsError: no such level.

    Example:
        >>> import invkit
        >>> invkit.set_verbosity("warning")
    """
    known = logging.getLevelNamesMapping()
    number = known.get(level.upper()) if isinstance(level, str) else level
    if not isinstance(number, int) or isinstance(number, bool):
        raise SettingsError("No such level of verbosity", expected=", ".join(known).lower(), got=repr(level))
    logger.setLevel(number)


@contextmanager
def quiet() -> Iterator[None]:
    """Show no progress of the work within."""
    before = logger.level
    logger.setLevel(max(before, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(before)


def log(text: str, *, level: int = logging.INFO) -> None:
    """Log a message; of several processes the main one does."""
    if distributed.is_main():
        logger.log(level, text)


def format_bytes(size: float) -> str:
    """Return a number of bytes as text, for instance ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def format_time(seconds: float) -> str:
    """Return a number of seconds as text, for instance ``3 min``."""
    scales = ((1, "s"), (60, "min"), (3600, "h"), (86_400, "days"))
    size, unit = max(scale for scale in scales if seconds >= 2 * scale[0] or scale[0] == 1)
    return f"{seconds / size:.0f} {unit}"


class Progress:
    """Count steps towards a total and show the time left.

    Args:
        title: of the work.
        total: number of steps.
        start: steps done before.
        show: False for silence, whatever the verbosity.
    """

    def __init__(self, title: str, total: int, *, start: int = 0, show: bool = True) -> None:
        self.title, self.total, self.step, self.note = title, total, start, ""
        show = show and distributed.is_main() and logger.isEnabledFor(logging.INFO)
        self._log = show and not sys.stderr.isatty()
        self._bar = tqdm(total=total, initial=start, desc=title, leave=False, disable=not show or self._log)
        self._begun = self._told = time.monotonic()
        self._start = start

    def advance(self, steps: int = 1) -> None:
        """Count steps."""
        self.step += steps
        self._bar.update(steps)
        if self._log and time.monotonic() - self._told > _LOG_EVERY:
            self._tell()

    def set_note(self, note: str) -> None:
        """Show a short note beside the count, for instance the validation loss."""
        self.note = note
        self._bar.set_postfix_str(note)

    def _tell(self) -> None:
        self._told = time.monotonic()
        pace = (self._told - self._begun) / max(self.step - self._start, 1)
        left = pace * (self.total - self.step)
        log(f"{self.title}: {self.step}/{self.total}, {format_time(left)} left {self.note}".rstrip())

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()

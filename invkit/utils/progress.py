"""Progress of long work: a bar with the time left on a terminal, log records elsewhere."""

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

_LOG_EVERY = 15.0  # seconds between two log records of a progress

#: the logger of all of invkit
logger = logging.getLogger("invkit")


class _StderrHandler(logging.Handler):
    """Write records to stderr, above a progress bar, if any."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except Exception:  # as logging's own handlers: a closed stderr does not end a run
            self.handleError(record)


if not logger.handlers:
    logger.addHandler(_StderrHandler())
    logger.propagate = False
if logger.level == logging.NOTSET:
    logger.setLevel(logging.INFO)


def set_verbosity(level: int | str) -> None:
    """Set what invkit shows while it works.

    Messages go to the logger ``invkit``, whose handler writes them to stderr. To handle them yourself, replace it:
    ``logging.getLogger("invkit").handlers = [...]``, before or after the import of invkit.

    Args:
        level: a level of :mod:`logging`, as a name or a number: ``"info"`` (default) shows progress bars and messages,
            ``"warning"`` shows neither.

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
    """Hide progress bars and messages within the block.

    Example:
        >>> from invkit.utils.progress import log, quiet
        >>> with quiet():
        ...     log("not shown")
    """
    before = logger.level
    logger.setLevel(max(before, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(before)


def log(text: str, *, level: int = logging.INFO) -> None:
    """Log a message, once for all processes."""
    if distributed.is_main():
        logger.log(level, text)


def format_bytes(size: float) -> str:
    """Format a number of bytes.

    Example:
        >>> from invkit.utils.progress import format_bytes
        >>> format_bytes(1536 * 2**20)
        '1.5 GiB'
    """
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def format_time(seconds: float) -> str:
    """Format a number of seconds.

    Example:
        >>> from invkit.utils.progress import format_time
        >>> format_time(190)
        '3 min'
    """
    scales = ((1, "s"), (60, "min"), (3600, "h"), (86_400, "days"))
    size, unit = max(scale for scale in scales if seconds >= 2 * scale[0] or scale[0] == 1)
    return f"{seconds / size:.0f} {unit}"


class Progress:
    """A count of steps towards a total, with the time left: a bar on a terminal, log records elsewhere.

    Args:
        title: of the work.
        total: number of steps; 0 if unknown.
        start: number of steps done before.
        show: False for silence, whatever the verbosity.

    Example:
        >>> from invkit.utils.progress import Progress
        >>> bar = Progress("training", 10)
        >>> for _ in range(10):
        ...     bar.advance()
        >>> bar.step
        10
        >>> bar.close()
    """

    def __init__(self, title: str, total: int, *, start: int = 0, show: bool = True) -> None:
        self.title, self.total, self.step, self.note = title, total, start, ""
        show = show and distributed.is_main() and logger.isEnabledFor(logging.INFO)
        self._logs = show and not sys.stderr.isatty()
        self._bar = tqdm(total=total or None, initial=start, desc=title, leave=False, disable=not show or self._logs)
        self._begun = self._logged = time.monotonic()
        self._start = start

    def advance(self, steps: int = 1) -> None:
        """Count steps."""
        self.step += steps
        self._bar.update(steps)
        if self._logs and time.monotonic() - self._logged > _LOG_EVERY:
            self._log()

    def set_note(self, note: str) -> None:
        """Show a short note beside the count, for instance the validation loss."""
        self.note = note
        self._bar.set_postfix_str(note)

    def _log(self) -> None:
        self._logged = time.monotonic()
        pace = (self._logged - self._begun) / max(self.step - self._start, 1)
        left = f"/{self.total}, {format_time(pace * (self.total - self.step))} left" if self.total else ""
        log(f"{self.title}: {self.step}{left} {self.note}".rstrip())

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()

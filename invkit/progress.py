"""What long work shows: a bar on a terminal, a line now and then in a log, nothing when asked."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

from invkit import processes

__all__ = ["Progress", "say", "spelt_bytes", "spelt_time"]

_LOG_EVERY = 15.0  # seconds between two lines of a log


def say(text: str, *, show: bool = True) -> None:
    """Print one line to stderr, above a bar if there is one; of several processes the main one does."""
    if show and processes.is_main():
        tqdm.write(text, file=sys.stderr)


def spelt_bytes(size: float) -> str:
    """Give a number of bytes as people read it."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def spelt_time(seconds: float) -> str:
    """Give a number of seconds as people read it."""
    scales = ((1, "s"), (60, "min"), (3600, "h"), (86_400, "days"))
    size, unit = max(scale for scale in scales if seconds >= 2 * scale[0] or scale[0] == 1)
    return f"{seconds / size:.0f} {unit}"


class Progress:
    """Counts steps towards a total and tells the time left.

    Args:
        title: what is being done.
        total: number of steps.
        start: steps already done.
        show: False for silence.
    """

    def __init__(self, title: str, total: int, *, start: int = 0, show: bool = True) -> None:
        self.title, self.total, self.step, self.note = title, total, start, ""
        show = self.show = show and processes.is_main()
        self._log = show and not sys.stderr.isatty()
        bar = show and not self._log
        self._bar = tqdm(total=total, initial=start, desc=title, leave=False, disable=not bar)
        self._begun = self._told = time.monotonic()
        self._start = start

    def advance(self, steps: int = 1) -> None:
        """Count steps."""
        self.step += steps
        self._bar.update(steps)
        if self._log and time.monotonic() - self._told > _LOG_EVERY:
            self._tell()

    def tell(self, note: str) -> None:
        """Show a short note beside the count, for instance the held-out figure."""
        self.note = note
        self._bar.set_postfix_str(note)

    def _tell(self) -> None:
        self._told = time.monotonic()
        pace = (self._told - self._begun) / max(self.step - self._start, 1)
        left = pace * (self.total - self.step)
        say(f"{self.title}: {self.step}/{self.total}, {left:.0f} s left {self.note}")

    def close(self) -> None:
        """End the bar."""
        self._bar.close()

"""Reading with retries: an item that fails three times is skipped, and too many skipped items are an error."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from invkit.errors import DataError, InvkitWarning
from invkit.utils.progress import Progress

__all__ = ["read_each", "read_stream", "retried"]

_TRIES = 3
_MAX_FAILED = 0.1  # of the items
_NAMED = 5  # failed items named in a message
_AHEAD = 4  # images that each thread reads ahead

T = TypeVar("T")


def retried(read: Callable[[], T]) -> T:
    """Call a function up to three times until it raises no error; a MemoryError is raised at once."""
    for _ in range(_TRIES - 1):
        try:
            return read()
        except MemoryError:
            raise
        except Exception:  # a user's data set may raise anything
            continue
    return read()


def read_each(
    read: Callable[[int], T],
    total: int,
    *,
    name: Callable[[int], str] = str,
    threads: int = 1,
) -> Iterator[tuple[int, T]]:
    """Read images by index, with retries; yield (index, image) for each that can be read.

    Images that cannot be read are skipped, with one warning at the end.

    Args:
        read: returns the image of an index.
        total: number of images.
        name: returns the name of an index, for messages.
        threads: number of threads that read ahead; more than one only if `read` is thread-safe.

    Raises:
        DataError: more than a tenth cannot be read, as soon as that is known.
    """
    failed: list[str] = []
    first: Exception | None = None
    bar = Progress("reading images", total)
    for number, result in enumerate(_read_ahead(lambda number: retried(partial(read, number)), total, threads)):
        try:
            found = result()
        except MemoryError:
            raise
        except Exception as error:
            first = first or error
            failed.append(f"{name(number)} ({describe_error(error)})")
            if len(failed) > _MAX_FAILED * total:
                raise DataError(
                    "Too many of the images could not be read",
                    expected=f"{_MAX_FAILED:.0%} of {total} at most",
                    got=f"{len(failed)} of the first {number + 1}: {_listed(failed)}",
                    hint="Each was tried three times. Repair or remove them.",
                ) from first
        else:
            yield number, found
        bar.advance()
    bar.close()
    if failed:
        warnings.warn(
            f"{len(failed)} of {total} images could not be read and are left out: {_listed(failed)}.",
            InvkitWarning,
            stacklevel=2,
        )


def _read_ahead(read: Callable[[int], T], total: int, threads: int) -> Iterator[Callable[[], T]]:
    """Yield for each index a function that returns its image or raises its error; threads read ahead."""
    if threads == 1:
        yield from (partial(read, number) for number in range(total))
        return
    pool = ThreadPoolExecutor(threads)
    begun: deque[Future[T]] = deque()
    try:
        for number in range(total):
            begun.append(pool.submit(read, number))
            if len(begun) > _AHEAD * threads:
                yield begun.popleft().result
        while begun:
            yield begun.popleft().result
    finally:
        pool.shutdown(cancel_futures=True)


def read_stream(items: Iterable[Any], read: Callable[[Any], T], *, kind: str = "Item") -> Iterator[T]:
    """Read items of an iterable, which cannot be retried.

    Args:
        items: an iterable data set or a loader.
        read: converts an item.
        kind: what an item is called in messages.

    Raises:
        DataError: an item fails; with its number, from 0, and the cause.
    """
    number, rest = 0, iter(items)
    while True:
        try:
            item = next(rest)
        except StopIteration:
            return
        except Exception as error:
            raise _failed(kind, number, error) from error
        try:
            found = read(item)
        except Exception as error:
            raise _failed(kind, number, error) from error
        yield found
        number += 1


def _failed(kind: str, number: int, error: Exception) -> Exception:
    if isinstance(error, MemoryError):
        return error
    return DataError(
        f"{kind} {number} of the data could not be read",
        got=describe_error(error),
        hint="Images of a data set with `__len__` and `__getitem__` are retried, and skipped if they keep failing.",
    )


def describe_error(error: Exception) -> str:
    """Return an error's type and message in one short line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:160].removesuffix(": ")


def _listed(failed: list[str]) -> str:
    more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    return ", ".join(failed[:_NAMED]) + more

"""Reading what may fail: an item is tried again, left out if that does not help, and too many such end it."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from invkit.errors import DataError, InvkitWarning
from invkit.utils.progress import Progress

__all__ = ["read_each", "read_on", "tried"]

_TRIES, _MOST, _NAMED = 3, 0.1, 5  # share of the items that may fail; so many are named
_AHEAD = 4  # images that are read ahead by each thread

T = TypeVar("T")


def tried(read: Callable[[], T]) -> T:
    """Return what `read` gives at the first, second or third try; memory that ran out is not tried again."""
    for _ in range(_TRIES - 1):
        try:
            return read()
        except MemoryError:
            raise
        except Exception:  # a foreign data set may raise anything
            continue
    return read()


def read_each(
    read: Callable[[int], T],
    total: int,
    *,
    name: Callable[[int], str] = str,
    threads: int = 1,
) -> Iterator[tuple[int, T]]:
    """Read images that can be read again; give each that can be read with its number.

    One warning at the end tells of those that were left out.

    Args:
        read: gives the image of a number.
        total: how many there are.
        name: what an image is called.
        threads: in which images are read ahead; more than one only where `read` may run in several.

    Raises:
        DataError: more than a tenth cannot be read, as soon as that is known.
    """
    failed: list[str] = []
    first: Exception | None = None
    bar = Progress("reading images", total)
    for number, result in enumerate(_read_ahead(lambda number: tried(partial(read, number)), total, threads)):
        try:
            found = result()
        except MemoryError:
            raise
        except Exception as error:
            first = first or error
            failed.append(f"{name(number)} ({spelt_error(error)})")
            if len(failed) > _MOST * total:
                raise DataError(
                    "Too many of the images could not be read",
                    expected=f"{_MOST:.0%} of {total} at most",
                    got=f"{len(failed)} of the first {number + 1}: {_listed(failed)}",
                    hint="Each was tried three times. Repair them, or leave them out.",
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
    """Return for each number what gives its image, or raises; several threads read some images ahead."""
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


def read_on(items: Iterable[Any], read: Callable[[Any], T], *, kind: str = "Item") -> Iterator[T]:
    """Read items that come one after the other, and only once.

    Args:
        items: a data set without numbers, or a loader.
        read: what is made of an item.
        kind: what an item is called.

    Raises:
        DataError: one fails; its number, from 0, and the cause are told.
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
        got=spelt_error(error),
        hint="Of a data set with `__len__` and `__getitem__` an image that fails is tried again, and left out at last.",
    )


def spelt_error(error: Exception) -> str:
    """Return an error's type and what it says, in one short line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:160].removesuffix(": ")


def _listed(failed: list[str]) -> str:
    more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    return ", ".join(failed[:_NAMED]) + more

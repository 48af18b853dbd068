"""Reading with retries, in one thread and in several."""

import threading
import time

import pytest

from invkit.data.retry import read_each
from invkit.errors import DataError, InvkitWarning


def test_images_come_in_order_whichever_is_read_first():
    def read(number):
        time.sleep(0.002 * (number % 3 == 0))
        return number * number

    assert list(read_each(read, 50, threads=4)) == [(k, k * k) for k in range(50)]


def test_several_are_read_at_once_and_only_some_ahead():
    begun, both, before = [], threading.Barrier(2, timeout=5), threading.active_count()

    def read(number):
        begun.append(number)
        if number < 2:
            both.wait()  # comes back only where two threads are here
        return number

    found = read_each(read, 1000, threads=2)
    assert next(found) == (0, 0)
    time.sleep(0.05)
    assert len(begun) < 20
    found.close()
    assert len(begun) < 20
    assert threading.active_count() == before


def test_failing_items_are_retried_and_then_skipped():
    tries = []

    def read(number):
        if number == 5:
            tries.append(number)
            raise OSError("gone")
        return number

    with pytest.warns(InvkitWarning, match=r"1 of 40 images.*5 \(OSError: gone\)"):
        assert [k for k, _ in read_each(read, 40, threads=3)] == [k for k in range(40) if k != 5]
    assert len(tries) == 3


def test_too_many_that_fail_end_it_early():
    begun = []

    def read(number):
        begun.append(number)
        raise OSError("gone")

    with pytest.raises(DataError, match="Too many of the images"):
        list(read_each(read, 1000, threads=3))
    assert len(set(begun)) < 200


def test_a_memory_error_is_not_retried():
    def read(number):
        raise MemoryError

    with pytest.raises(MemoryError):
        list(read_each(read, 10, threads=2))

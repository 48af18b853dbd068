"""Work that finds memory too small goes on in smaller parts, and any other error is told."""

import errno

import pytest
import torch

from invkit.utils.resources import in_batches, is_out_of_memory


def test_memory_is_found_to_be_too_small_where_it_is():
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**50)
    assert is_out_of_memory(error.value)
    assert not is_out_of_memory(OSError(errno.ENOSPC, "No space left on device"))


class Work:
    """Has room for so many rows at once."""

    def __init__(self, room):
        self.room, self.tried = room, []

    def __call__(self, rows):
        self.tried.append(rows.stop - rows.start)
        if self.tried[-1] > self.room:
            raise MemoryError
        return torch.arange(10)[rows]


def test_parts_are_halved_until_they_fit_and_every_row_comes_once():
    work = Work(2)
    assert torch.equal(torch.cat(in_batches(work, 10, 7)), torch.arange(10))
    assert work.tried == [7, 4, 2, 2, 2, 2, 2]
    assert torch.equal(torch.cat(in_batches(Work(99), 10, 4)), torch.arange(10))
    assert in_batches(Work(1), 0, 4) == []


def test_out_of_memory_with_one_row_and_other_errors_raise():
    with pytest.raises(MemoryError):
        in_batches(Work(0), 10, 4)
    with pytest.raises(ZeroDivisionError):
        in_batches(lambda _: 1 / 0, 10, 4)
    with pytest.raises(RuntimeError, match="shapes"):
        in_batches(lambda _: torch.ones(2, 3) @ torch.ones(2, 3), 10, 4)

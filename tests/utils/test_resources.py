"""What is free, by the machine and by the limits of a container."""

from collections import namedtuple
from pathlib import Path

import pytest

from invkit.errors import ArtefactError
from invkit.utils import resources as room

GIB = 2**30


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with 100 GiB free, and control groups as Linux shows them."""
    monkeypatch.setattr("psutil.virtual_memory", lambda: namedtuple("memory", "available")(100 * GIB))
    monkeypatch.setattr(room, "_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(room, "_OWN", tmp_path / "own")

    def limit(group, most, used, cached):
        folder = tmp_path / "cgroup" / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\nactive_file 7\n")

    (tmp_path / "own").write_text("0::/job/step\n")
    return limit


def test_without_control_groups_it_is_what_the_machine_has(machine):
    assert room.free_memory() == 100 * GIB
    assert room.memory_budget() == 50 * GIB


def test_the_limit_of_a_job_counts_and_so_does_that_of_what_holds_it(machine):
    machine("job/step", "max", 3 * GIB, 0)
    assert room.free_memory() == 100 * GIB
    machine("job/step", 20 * GIB, 3 * GIB, GIB)
    assert room.free_memory() == 18 * GIB
    machine("job", 10 * GIB, 9 * GIB, 3 * GIB)
    assert room.free_memory() == 4 * GIB
    machine("job", 10 * GIB, 11 * GIB, 0)
    assert room.free_memory() == 0


def test_processes_of_one_run_share_it(machine, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert room.memory_budget() == 12.5 * GIB


def test_of_large_representations_fewer_are_held_at_once():
    assert room.rows_in_memory(4096, (256, 8, 8)) == 4096  # just as many as fit
    assert room.rows_in_memory(4096, (256, 8, 9)) == 3640
    assert room.rows_in_memory(4096, (256, 56, 56)) == 83
    assert room.rows_in_memory(4096, (2**24,)) == 64
    assert room.rows_in_memory(600, (2**24,), least=100) == 100
    assert room.rows_in_memory(7, (5,)) == 7


def test_this_machine_has_some():
    assert 0 < room.free_memory() < 2**50


def test_too_little_disk_space_raises(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: namedtuple("usage", "free")(1000))
    room.check_disk_space(1000, tmp_path / "not" / "yet" / "there", "images")
    with pytest.raises(ArtefactError, match=r"Too little disk space for the images\..*Expected: 1001 B free.*TMPDIR"):
        room.check_disk_space(1001, None, "images")
    assert not list(Path(tmp_path).iterdir())

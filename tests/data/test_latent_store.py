"""Latent stores: finished parts survive every fault, and damaged ones are never read."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from invkit.data import latent_store as store_module
from invkit.data.latent_store import LatentSpec, check_latents_fit, fill_stores, open_stores
from invkit.errors import ArtefactError
from invkit.utils.io import read_tensors, write_tensors

N, PART = 100, 8


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(store_module, "_PART_ROWS", PART)


def truth():
    generator = torch.Generator().manual_seed(0)
    return {"a": torch.randn(N, 5, generator=generator), "b": torch.randn(N, 2, 3, generator=generator)}


class Work:
    """Fill a store with known values, and record the rows computed."""

    def __init__(self, folder, trouble=None, names=("z",), batch=8):
        self.folder, self.trouble, self.names, self.batch = folder, trouble, names, batch
        self.rows, self.truth = [], truth()

    def __call__(self):
        shapes = {name: tuple(values.shape[1:]) for name, values in self.truth.items()}
        about = {"of": "made up"}
        specs = {name: LatentSpec(shapes, self.folder and self.folder / name, about) for name in self.names}
        stores = open_stores(N, specs)
        fill_stores(stores, self.compute, title="latents", lock=self.folder, batch=self.batch)
        return stores

    def compute(self, rows, wanted):
        if self.trouble is not None:
            self.trouble(rows)
        self.rows += range(rows.start, rows.stop)
        return {name: {key: values[rows] for key, values in self.truth.items()} for name in wanted}

    def is_right(self):
        stores, order = self(), torch.randperm(N)
        return all(
            torch.equal(stores[name][key][order], values[order]) and torch.equal(stores[name][key][3:90], values[3:90])
            for name in self.names
            for key, values in self.truth.items()
        )


def parts(folder):
    return sorted(folder.glob("z/*.safetensors"))


def partials(folder):
    return list(folder.rglob("*.partial"))


@pytest.mark.parametrize("batch", [1, 6, 8, 50, 1000])
def test_latents_are_read_as_computed_and_computed_once(tmp_path, batch):
    for folder in (None, tmp_path / "x"):
        work = Work(folder, names=("y", "z"), batch=batch)
        assert work.is_right()
        assert work.rows == list(range(N))
    assert len(parts(folder)) == 13
    again = Work(folder, names=("y", "z"), batch=batch)
    assert again.is_right()
    assert again.rows == []


def test_stores_of_parts_of_several_sizes_are_filled_in_one_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "_PART_BYTES", 4 * 11 * 3)
    small = open_stores(N, {"small": LatentSpec({"a": (5,), "b": (2, 3)}, tmp_path / "s", {})})["small"]
    monkeypatch.undo()
    assert small.rows_per_part == 2
    work = Work(tmp_path / "x")
    large = open_stores(N, {"z": LatentSpec({"a": (5,), "b": (2, 3)}, tmp_path / "x" / "z", {})})["z"]
    work.names = ("small", "z")
    fill_stores({"small": small, "z": large}, work.compute, title="latents", batch=7)
    for store in (small, large):
        assert all(torch.equal(store[key][:], values) for key, values in work.truth.items())
    assert work.rows == list(range(N))
    small.folder.joinpath("000010.safetensors").unlink()
    work.rows = []
    fill_stores({"small": small, "z": large}, work.compute, title="latents", batch=2)
    assert work.rows == [20, 21]


def truncated(file):
    file.write_bytes(file.read_bytes()[:-7])


def flipped(file):
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(bytes(content))


def of_another_shape(file):
    write_tensors(file, {"a": torch.zeros(PART, 5), "b": torch.zeros(PART, 3, 2)})


def of_half_precision(file):
    write_tensors(file, {key: values.half() for key, values in read_tensors(file)[0].items()})


def of_fewer_rows(file):
    write_tensors(file, {key: values[:-1] for key, values in read_tensors(file)[0].items()})


DAMAGES = [
    truncated,
    flipped,
    of_another_shape,
    of_half_precision,
    of_fewer_rows,
    Path.unlink,
    lambda f: f.write_text(""),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_only_a_damaged_part_is_recomputed(tmp_path, damage, capsys):
    Work(tmp_path)()
    before = {file: file.read_bytes() for file in parts(tmp_path)}
    times = {file: file.stat().st_mtime_ns for file in before}
    bad = parts(tmp_path)[3]
    damage(bad)
    work = Work(tmp_path)
    assert work.is_right()
    assert work.rows == list(range(24, 32))
    assert {file: file.read_bytes() for file in parts(tmp_path)} == before
    assert all(file.stat().st_mtime_ns == times[file] for file in before if file != bad)
    assert capsys.readouterr().err.count(f"{bad} is damaged and is recomputed") == (damage is not Path.unlink)


def test_a_damaged_description_is_rewritten(tmp_path):
    Work(tmp_path)()
    about = tmp_path / "z" / "about.json"
    right = about.read_bytes()
    about.write_bytes(right[:5])
    work = Work(tmp_path)
    work()
    assert about.read_bytes() == right
    assert work.rows == []


def test_every_flipped_bit_of_a_file_is_detected(tmp_path):
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": torch.arange(6.0).view(2, 3), "b": torch.zeros(1)}, {"result": '{"best": 0.123}'})
    content, known = path.read_bytes(), read_tensors(path)
    passed = 0
    for place in range(len(content)):
        for bit in (1, 4, 32):
            path.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
            try:
                tensors, metadata = read_tensors(path)
            except ArtefactError:
                continue
            passed += 1  # where it was the name of the hash: all else is as it was
            metadata = {key: value for key, value in metadata.items() if len(value) != 16}
            assert metadata == known[1]
            assert all(torch.equal(tensors[key], values) for key, values in known[0].items())
    assert passed <= 3 * len("invkit hash") + 6


@pytest.mark.parametrize("damage", [damage for damage in DAMAGES if damage is not flipped])
def test_a_part_damaged_after_verification_raises_when_read(tmp_path, damage):
    rows = Work(tmp_path)()["z"]["b"]
    assert torch.equal(rows[:8], truth()["b"][:8])
    damage(parts(tmp_path)[3])
    assert torch.equal(rows[8:24], truth()["b"][8:24])
    with pytest.raises(ArtefactError, match=r"Cannot read .*000003.safetensors.*recomputed"):
        rows[20:40]


def test_rows_are_read_in_any_order_and_repeatedly(tmp_path):
    rows, right = Work(tmp_path)()["z"]["b"], truth()["b"]
    for wanted in (
        torch.tensor([99, 0, 8, 7, 7, 98, 9, 8]),
        torch.arange(N).flip(0),
        torch.tensor([], dtype=torch.long),
    ):
        assert torch.equal(rows[wanted], right[wanted])
    for wanted in (slice(None), slice(5, 40), slice(7, 8), slice(90, 200), slice(3, 3)):
        assert torch.equal(rows[wanted], right[wanted])


@contextmanager
def files_of_at_most(size):
    """Writing more fails with EFBIG (Python ignores SIGXFSZ)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_failed_write_keeps_earlier_parts_and_leaves_no_partial_files(tmp_path):
    def limit(rows):
        if rows.start == 40:
            resource.setrlimit(resource.RLIMIT_FSIZE, (300, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    first = Work(tmp_path, limit)
    with files_of_at_most(10**9), pytest.raises(ArtefactError, match=r"Cannot write.*File too large.*Free some space"):
        first()
    assert len(parts(tmp_path)) == 5
    assert partials(tmp_path) == []
    second = Work(tmp_path)
    assert second.is_right()
    assert second.rows == list(range(40, N))


@contextmanager
def mounted(folder, size):
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if made.returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(not shutil.which("mount"), reason="no mount here")
def test_a_full_disk_keeps_earlier_parts_and_leaves_no_partial_files(tmp_path, monkeypatch):
    folder = tmp_path / "disk"
    with mounted(folder, "40k"):
        monkeypatch.setattr(store_module, "check_disk_space", lambda *_: None)  # another program takes the room
        with pytest.raises(ArtefactError, match=r"Cannot write.*bytes of free space.*No space left.*Free some space"):
            Work(folder)()
        before = {file: file.stat().st_mtime_ns for file in parts(folder)}
        assert len(before) > 3
        assert partials(folder) == []
        subprocess.run(["mount", "-o", "remount,size=1m", folder], check=True)
        work = Work(folder)
        assert work.is_right()
        assert work.rows == list(range(PART * len(before), N))
        assert all(file.stat().st_mtime_ns == time for file, time in before.items())


def test_an_interrupt_during_a_write_leaves_only_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": torch.zeros(1)})

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_tensors(path, {"a": torch.ones(1)})
    assert list(tmp_path.iterdir()) == [path]
    assert read_tensors(path)[0]["a"] == 0


def test_a_lock_in_a_folder_that_is_not_writable_raises(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtefactError, match=r"Cannot write .*\.locks.*another folder"):
        fill_stores(open_stores(N, {"z": LatentSpec({"a": (5,)})}), None, title="x", lock=tmp_path / "file" / "x")


def test_too_little_disk_space_raises_before_anything_is_computed(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    free = N * 11 * 4 + 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, free))
    Work(tmp_path / "one")()
    two = Work(tmp_path / "two", names=("y", "z"))
    with pytest.raises(
        ArtefactError, match=r"Too little disk space.*Expected: 9 KiB free in .*Got: 4 KiB.*another folder: `cache`"
    ):
        two()
    assert two.rows == []
    free = 0
    Work(tmp_path / "one")()  # what is there already needs no room


def is_in_a_file(tensor):
    """Whether a tensor is mapped from a temporary file that has no name any more."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, stop = (int(end, 16) for end in line.split()[0].split("-"))
        if start <= tensor.data_ptr() < stop:
            return "invkit-" in line and line.endswith("(deleted)")
    return False


@pytest.fixture
def memory_for_one_layer(tmp_path, monkeypatch):
    memory = namedtuple("memory", "available")
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory(2 * N * 11 * 4 + 1))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_several_layers_that_fit_memory_one_by_one_only_go_into_a_temporary_file(memory_for_one_layer):
    one = Work(None)()["z"]["a"]
    assert isinstance(one, torch.Tensor)
    assert not is_in_a_file(one)
    both = Work(None, names=("y", "z"))
    assert all(is_in_a_file(store[name]) for store in both().values() for name in "ab")
    assert both.is_right()
    assert not list(memory_for_one_layer.iterdir())  # unlinked: nothing is left after a kill either


def test_on_several_machines_each_process_has_a_temporary_file_and_computes_all(memory_for_one_layer, monkeypatch):
    monkeypatch.setattr("invkit.utils.distributed.world_size", lambda: 4)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr("invkit.utils.distributed.rank", lambda: 3)
    monkeypatch.setattr(store_module, "_SMALL", 0)
    work = Work(None)
    stores = work()
    assert is_in_a_file(stores["z"]["a"])
    assert torch.equal(stores["z"]["b"], work.truth["b"])
    assert work.rows == list(range(N))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("usage", "free")(2 * N * 11 * 4 - 1))
    with pytest.raises(ArtefactError, match=r"Too little disk space for the latents"):  # two files on this machine
        Work(None)()


def test_a_temporary_file_that_does_not_fit_the_disk_is_an_error_before_anything_is_computed(memory_for_one_layer):
    work = Work(None, names=("y", "z"))
    expected = r"Cannot write the latents to a temporary file.*Got: File too large.*TMPDIR"
    with files_of_at_most(N * 11 * 4 - 1), pytest.raises(ArtefactError, match=expected):
        work()
    assert work.rows == []
    assert not list(memory_for_one_layer.iterdir())


def test_latents_in_the_cache_folder_need_no_space_again(tmp_path, monkeypatch):
    usage, needed = namedtuple("usage", "free"), N * 11 * 4
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(free))
    free = needed - 1
    check_latents_fit(free, tmp_path / "none yet")
    with pytest.raises(ArtefactError, match=r"Too little disk space for the latents"):
        check_latents_fit(needed, tmp_path)
    check_latents_fit(needed, None)  # fits memory
    free = 10 * needed
    Work(tmp_path / "representations-0123456789abcdef")()
    (tmp_path / "t-0123456789abcdef.safetensors").write_bytes(bytes(needed))  # no latents
    free = 0
    check_latents_fit(needed, tmp_path)
    with pytest.raises(ArtefactError, match=r"Too little disk space for the latents"):
        check_latents_fit(3 * needed, tmp_path)


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("std::bad_alloc"),
    MemoryError(),
]


@pytest.mark.parametrize("error", ERRORS)
def test_the_batch_is_halved_when_memory_runs_out(tmp_path, error, capsys):
    sizes = []

    def trouble(rows):
        sizes.append(rows.stop - rows.start)
        if sizes[-1] > 3 and rows.start >= 16:
            raise error

    work = Work(tmp_path, trouble, batch=8)
    work()
    assert sizes[:6] == [8, 8, 8, 4, 2, 2]
    assert work.rows == list(range(N))
    assert Work(tmp_path).is_right()


def test_out_of_memory_with_a_single_image_raises():
    def trouble(rows):
        if rows.start <= 5 < rows.stop:
            raise ERRORS[0]

    work = Work(None, trouble)
    with pytest.raises(torch.OutOfMemoryError):
        work()
    assert work.rows == list(range(5))


def test_other_errors_are_not_retried():
    tries = []

    def trouble(rows):
        tries.append(rows)
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        Work(None, trouble)()
    assert len(tries) == 1


def in_fork(work):
    """Run work in a fork; return the signal that ended it, 0 for none."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def dies_at(touch, folder, work):
    """Return work that kills itself when it opens, renames, removes or makes a file or folder for the n-th time."""
    seen = 0

    def hook(event, args):
        nonlocal seen
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and str(folder) in str(args[0]):
            seen += 1
            if seen == touch:
                os.kill(os.getpid(), signal.SIGKILL)

    def killed():
        sys.addaudithook(hook)
        work()

    return killed


def kill_everywhere(base):
    """Kill a run at each of its file operations, and let another run finish it."""
    store_module._PART_ROWS = 32
    torch.set_num_threads(1)
    right = base / "right"
    Work(right, batch=16)()
    expected = [file.read_bytes() for file in parts(right)]
    left = 0
    for touch in range(1, 1000):
        folder = base / str(touch)
        folder.mkdir()
        if not in_fork(dies_at(touch, folder, Work(folder, batch=16))):
            break
        left += len(partials(folder))
        whole = parts(folder)
        assert [file.read_bytes() for file in whole] == expected[: len(whole)]
        work = Work(folder, batch=16)
        work()
        assert work.rows == list(range(32 * len(whole), N))
        assert [file.read_bytes() for file in parts(folder)] == expected
        assert partials(folder) == []
    print(touch, left)


def test_a_run_killed_at_any_file_operation_loses_no_finished_part(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from test_latent_store import *\n"
    code += "kill_everywhere(Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    touches, left = map(int, done.stdout.split())
    assert touches > 15
    assert left == 5  # of each of four parts, and of what is said of them: it had been written, and had no name yet

"""Fault injection: runs that are killed, interrupted, out of disk space or damaged still give bitwise the same result.

A script imports everything once, then forks a child for each run. Children report each unit of work on a pipe and are
killed by it, so that kills hit every part of a run, however fast the machine is.
"""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import namedtuple
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

import invkit
from invkit.data import Codes, ImageSet, as_concept, latents
from invkit.data import latent_store as store_module
from invkit.data.latent_store import LatentSpec, fill_stores, open_stores
from invkit.errors import ArtefactError, LayerError
from invkit.explainer import explainer as module
from invkit.explainer.invariance import build_t
from invkit.explanation import saving
from invkit.settings import Settings
from invkit.training import FitSettings, InvarianceTask, Task, fit, held_out_nll, loop
from invkit.training.step import State, take_step
from invkit.utils.io import read_tensors, write_tensors
from invkit.utils.random import generator_for

IMAGES, PART, BATCH, STEPS, EVERY = 300, 32, 16, 24, 6


def small_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5))


def images():
    """Noise whose red tells one of three kinds."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randint(3, (IMAGES,), generator=generator)
    pixels = torch.randint(256, (IMAGES, 3, 28, 28), generator=generator, dtype=torch.uint8)
    pixels[:, 0] = (kinds * 80).byte()[:, None, None]
    return ImageSet(pixels, {"kind": as_concept("kind", kinds)})


def as_they_are(pixels):
    return pixels


def explained(cache, model=None):
    few = FitSettings(steps=STEPS, batch_size=32, learning_rate=1e-3, evaluate_every=EVERY)
    tiny = Settings.tiny()
    settings = replace(
        tiny, autoencoder=replace(tiny.autoencoder, fit=few), fit_t=few, fit_e=few, fit_anchors=few
    )  # fmt: skip
    return invkit.explain(
        model or small_model(),
        "2",
        images(),
        preprocess=as_they_are,
        settings=settings,
        cache=cache,
    )


def contents(cache):
    """Return all that a cache holds, to be compared bit by bit; how long a training took is no part of it."""
    files = [file for file in sorted(cache.rglob("*")) if file.is_file() and ".locks" not in file.parts]
    return {
        str(file.relative_to(cache)): json.loads(file.read_text()) if file.suffix == ".json" else read_tensors(file)[0]
        for file in files
    }


def same(a, b):
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def finished(cache):
    """Return what must never be written again: parts and trained parts, by the time of their writing."""
    return {file: file.stat().st_mtime_ns for file in cache.rglob("*.safetensors") if "explanation" not in str(file)}


class Run:
    """A run in a child, which tells the name of each unit of work before it is done, and then calls `at` with it.

    Attributes:
        told: names of the units so far.
        status: exit status, or minus the signal that ended it.
    """

    def __init__(self, cache, at=None):
        self.told, self.status = [], None
        reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reader)
            child(cache, lambda unit: (os.write(writer, f"{unit}\n".encode()), at and at(unit, writer)))
        os.close(writer)
        self._pipe = os.fdopen(reader)

    def reach(self, unit, order):
        """Wait until a unit, or a later one, is begun; False where the run ends before."""
        for line in self._pipe:
            self.told.append(line.strip())
            if order.index(self.told[-1]) >= order.index(unit):
                return True
        return False

    def hear(self):
        return next(self._pipe).strip()

    def send(self, number):
        os.kill(self.pid, number)

    def end(self):
        self.told += [line.strip() for line in self._pipe]
        self._pipe.close()
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status


def child(cache, tell):
    """Explain in this process, and end it: 0 if all went well, 130 on Ctrl-C, 3 on an ArtefactError."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
    watched(tell)
    status = 1
    try:
        explained(cache)
        status = 0
    except KeyboardInterrupt:
        status = 130
    except ArtefactError as error:
        print(error, file=sys.stderr)
        status = 3
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def watched(tell):
    """Call `tell` before each unit of work: training steps, batches of latents, metrics, files of the explanation."""
    step, fill, metrics, write = loop.take_step, latents.fill_stores, module.explanation_of, saving.write_tensors

    def told_step(task, state, *args):
        tell(f"{task.title}, step {state.result.steps}")
        return step(task, state, *args)

    def told_fill(stores, compute, **options):
        if options["lock"] is None:  # what is kept nowhere, for the metrics
            return fill(stores, compute, **options)
        total = next(iter(stores.values())).total

        def told_compute(rows, wanted):
            tell(f"{options['title']} of {total}, row {rows.start}")
            return compute(rows, wanted)

        return fill(stores, told_compute, **options | {"batch": BATCH})

    def told_metrics(*args, **options):
        tell("metrics")
        return metrics(*args, **options)

    def told_write(path, *args):
        tell(f"file {path.name}")
        return write(path, *args)

    loop.take_step, latents.fill_stores = told_step, told_fill
    module.explanation_of, saving.write_tensors = told_metrics, told_write


def prepared(base):
    """Return the contents of a cache after an undisturbed run, and the units of that."""
    torch.set_num_threads(1)
    store_module._PART_ROWS = PART
    run = Run(base / "undisturbed")
    assert run.end() == 0
    assert len(set(run.told)) == len(run.told) > 5 * STEPS + IMAGES / BATCH * 2
    return contents(base / "undisturbed"), run.told


def batches(told):
    return [unit for unit in told if ", row " in unit]


def steps(told):
    return [unit for unit in told if ", step " in unit]


def killed_at_random_moments(base, kills=20):
    expected, order = prepared(base)
    cache, generator = base / "cache", torch.Generator().manual_seed(0)
    cache.mkdir()
    moments = torch.randperm(len(order) - 2, generator=generator)[: kills - 1].sort().values.tolist()
    told, kept, left = [], {}, 0
    for target in [*(order[k] for k in moments), order[-1]]:
        run = Run(cache, partial(hold, order[-1]))
        assert run.reach(target, order)
        time.sleep(0.02 * float(torch.rand(1, generator=generator)))  # to die in its midst, or while a file is written
        run.send(signal.SIGKILL)
        assert run.end() == -signal.SIGKILL
        told += run.told
        assert all(file.stat().st_mtime_ns == when for file, when in kept.items())
        kept = finished(cache)
        assert all(read_tensors(file) for file in cache.rglob("*") if file.suffix in (".safetensors", ".checkpoint"))
        left += len(list(cache.rglob("*.partial")))
    last = Run(cache)
    assert last.end() == 0
    told += last.told
    assert all(file.stat().st_mtime_ns == when for file, when in kept.items())
    assert same(contents(cache), expected)
    repeated = len(batches(told)) - len(batches(order)), len(steps(told)) - len(steps(order))
    print(json.dumps({"units": len(order), "repeated": repeated, "partials": left}))
    assert repeated[0] <= kills * PART / BATCH
    assert repeated[1] <= kills * 2 * EVERY


def script(tmp_path, name, *args, seconds=120):
    """Call a function of this module in a process of its own."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_faults, pathlib\n"
    code += f"test_faults.{name}(pathlib.Path(sys.argv[1]), *sys.argv[2:])"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path), *args],
        capture_output=True,
        text=True,
        timeout=seconds,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.mark.slow
@pytest.mark.long
def test_a_run_killed_at_twenty_random_moments_ends_like_an_undisturbed_one(tmp_path):
    script(tmp_path, "killed_at_random_moments")


def hold(target, unit, writer):
    """Stay in a unit: of a training until one interrupt has been taken, then for long."""
    if unit == target:
        while ", step " in unit and signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            time.sleep(0.001)
        os.write(writer, b"held\n")
        time.sleep(100)


def interrupted_twice(base):
    expected, order = prepared(base)
    cache, told = base / "cache", []
    cache.mkdir()
    for target in targets(order):
        run = Run(cache, partial(hold, target))
        assert run.reach(target, order)
        if ", step " in target:
            run.send(signal.SIGINT)
        assert run.hear() == "held"
        sent = time.monotonic()
        run.send(signal.SIGINT)
        assert run.end() == 130
        assert time.monotonic() - sent < 20
        assert run.told[-1] == target
        assert not list(cache.rglob("*.partial"))
        told += run.told
    last = Run(cache)
    assert last.end() == 0
    told += last.told
    assert same(contents(cache), expected)
    assert len(batches(told)) - len(batches(order)) <= 2 * PART / BATCH
    assert len(steps(told)) - len(steps(order)) <= 2 * EVERY


def targets(order):
    """Return units of every kind, in their order: in the midst of trainings, of codes, of representations."""
    found = [[unit for unit in order if unit.startswith(kind)] for kind in ("auto", "codes", "repr", "t of")]
    return [units[len(units) * 3 // 5] for units in found]


@pytest.mark.slow
def test_two_interrupts_end_a_run_at_once_and_a_later_one_goes_on(tmp_path):
    script(tmp_path, "interrupted_twice")


def disk_full(base, how):
    """Let the disk become full, in the midst of each kind of work, and empty again; `how` is `quota` or `disk`."""
    expected, order = prepared(base)
    cache, filler = base / "disk" / "cache", base / "disk" / "filler"
    cache.mkdir(parents=True)
    kept = {}

    def fill_up(target, unit, _):
        if unit == target and how == "quota":
            resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))
        elif unit == target:
            with suppress(OSError), open(filler, "wb", buffering=0) as file:
                while file.write(bytes(1000)):
                    pass

    for target in [*targets(order), "file held_out.safetensors"]:
        run = Run(cache, partial(fill_up, target))
        assert run.end() == 3
        assert target in run.told
        filler.unlink(missing_ok=True)
        assert not list(cache.rglob("*.partial"))
        assert all(file.stat().st_mtime_ns == when for file, when in kept.items())
        kept = finished(cache)
    last = Run(cache)
    assert last.end() == 0
    assert all(file.stat().st_mtime_ns == when for file, when in kept.items())
    assert same(contents(cache), expected)


@pytest.mark.slow
def test_a_run_that_cannot_write_raises_and_a_later_run_resumes(tmp_path):
    told = script(tmp_path, "disk_full", "quota").stderr
    assert told.count("bytes of free space in a writable folder. Got: File too large. Free some space") == 5


@pytest.mark.slow
def test_a_run_on_a_full_disk_raises_and_a_later_run_resumes(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        told = script(tmp_path, "disk_full", "disk").stderr
    finally:
        subprocess.run(["umount", disk], check=True)
    assert told.count("Got: No space left on device. Free some space") == 5


def cut(file):
    file.write_bytes(file.read_bytes()[:-5])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 8
    file.write_bytes(bytes(content))


def swap(file):
    tensors, metadata = read_tensors(file)
    write_tensors(file, {name: values[None] for name, values in tensors.items()}, metadata)


def damaged(base):
    """Damage each kind of file in each way; that alone is recomputed."""
    expected, _ = prepared(base)
    cache = base / "undisturbed"
    works = {"autoencoder": "autoencoder, ", "anchors": "e, towards", "e": "e, step", "t": ("t of", "z̄ alone")}
    for (kind, work), damage in zip(works.items(), (flip, cut, swap, flip), strict=True):
        again(cache, next(cache.glob(f"{kind}-*.safetensors")), damage, expected, work, STEPS)
    for kind, damage in (("codes", cut), ("representations", flip), ("representations", Path.unlink)):
        again(cache, next(cache.glob(f"{kind}-*/**/000003.safetensors")), damage, expected, kind, PART / BATCH)


def again(cache, file, damage, expected, work, units):
    shutil.rmtree(next(cache.glob("explanation-*")))  # else nothing else is looked for
    kept = finished(cache)
    damage(file)
    run = Run(cache)
    assert run.end() == 0
    made = batches(run.told) + steps(run.told)
    assert len(made) == units, (file, damage, made)
    assert all(unit.startswith(work) for unit in made), (file, damage, made)
    assert all(other.stat().st_mtime_ns == when for other, when in kept.items() if other != file)
    assert same(contents(cache), expected)


@pytest.mark.slow
def test_only_damaged_files_are_reported_and_recomputed(tmp_path):
    told = script(tmp_path, "damaged").stderr
    assert len([line for line in told.splitlines() if line.endswith("is damaged and is recomputed")]) == 6


def logged(log, unit, _):
    with open(log, "a") as file:
        file.write(f"{os.getpid()} {unit}\n")


def two_at_once(base):
    """Let two runs fill one cache; then let that which works be killed, so that the other goes on."""
    expected, order = prepared(base)
    cache = base / "both"
    cache.mkdir()
    runs = [Run(cache), Run(cache)]
    assert [run.end() for run in runs] == [0, 0]
    assert same(contents(cache), expected)
    told = [unit for run in runs for unit in run.told]
    assert sorted(batches(told) + steps(told)) == sorted(batches(order) + steps(order))
    for number, target in enumerate(targets(order)[::2]):
        cache = base / str(number)
        cache.mkdir()
        log = base / f"{number}.log"
        log.touch()

        runs = [Run(cache, partial(logged, log)), Run(cache, partial(logged, log))]
        while not (lines := [line for line in log.read_text().splitlines() if line.endswith(target)]):
            time.sleep(0.002)
        pid = int(lines[0].split()[0])
        first, second = runs if runs[0].pid == pid else runs[::-1]
        first.send(signal.SIGKILL)
        assert first.end() == -signal.SIGKILL
        assert second.end() == 0
        assert same(contents(cache), expected)
        told = first.told + second.told
        assert set(told) == set(order)
        assert len(batches(told)) - len(batches(order)) <= PART / BATCH
        assert len(steps(told)) - len(steps(order)) <= EVERY + 1


@pytest.mark.slow
@pytest.mark.long
def test_two_runs_fill_one_cache_each_part_once_and_one_goes_on_where_the_other_was_killed(tmp_path):
    script(tmp_path, "two_at_once")


class Line(Task):
    """Fit y = 2x without noise; `trouble` is called with the rows of each piece."""

    def __init__(self, trouble=None, metrics=None):
        torch.manual_seed(0)
        self.title, self.rows, self.trouble, self.metrics = "line", 100, trouble, metrics
        self.module = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 1))
        self.x = torch.randn(100, 1)
        self.pieces = []

    def loss(self, module, rows, generator):
        self.pieces.append(len(rows))
        if self.trouble is not None:
            self.trouble(rows)
        return (module(self.x[rows]) - 2 * self.x[rows]).square().mean()

    def validation_loss(self, module):
        if self.metrics is not None:
            return self.metrics.pop(0)
        return float((module(self.x) - 2 * self.x).square().mean())

    def weights(self):
        return {name: value.clone() for name, value in self.module.state_dict().items()}


SOME = FitSettings(steps=40, batch_size=16, learning_rate=1e-2, evaluate_every=10)


@pytest.mark.parametrize("damage", [cut, flip, swap, Path.unlink])
def test_a_trained_part_with_a_damaged_file_is_retrained(tmp_path, damage, capsys):
    path = tmp_path / "line.safetensors"
    first, second, third = Line(), Line(), Line()
    fit(first, SOME, path=path)
    damage(path)
    fit(second, SOME, path=path)
    assert capsys.readouterr().err.count(f"{path} is damaged and is recomputed") == (damage is not Path.unlink)
    assert same(second.weights(), first.weights())
    path.with_suffix(".checkpoint").write_text("left by a run that died just before it removed it")
    fit(third, SOME, path=path)
    assert third.pieces == []
    assert [file.name for file in tmp_path.iterdir()] == [".locks", path.name]


@pytest.mark.parametrize("damage", [cut, flip])
def test_training_restarts_after_a_damaged_checkpoint(tmp_path, damage, capsys):
    path = tmp_path / "line.safetensors"
    undisturbed, second = Line(), Line()
    fit(undisturbed, SOME)

    def die(_):
        if len(first.pieces) == 25:
            raise KeyboardInterrupt

    first = Line(die)
    with pytest.raises(KeyboardInterrupt):
        fit(first, SOME, path=path)
    damage(path.with_suffix(".checkpoint"))
    fit(second, SOME, path=path)
    assert f"{path.with_suffix('.checkpoint')} is damaged and is recomputed" in capsys.readouterr().err
    assert len(second.pieces) == 40
    assert same(second.weights(), undisturbed.weights())


def test_a_file_that_cannot_be_read_for_another_reason_is_not_removed(tmp_path, monkeypatch):
    path = tmp_path / "line.safetensors"
    fit(Line(), SOME, path=path)

    def too_many(self):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", too_many)
        with pytest.raises(ArtefactError, match="Too many open files"):
            fit(Line(), SOME, path=path)
    again = Line()
    fit(again, SOME, path=path)
    assert again.pieces == []


def test_a_run_killed_just_before_it_stops_early_stops_there_when_it_is_resumed(tmp_path, monkeypatch):
    metrics, settings = [5.0, 4.0, 4.1, 4.2, 3.0], replace(SOME, patience=2)
    whole, first, second = Line(metrics=list(metrics)), Line(metrics=list(metrics)), Line(metrics=[3.0])
    expected = fit(whole, settings)
    assert (expected.stopped, expected.steps, expected.best_step) == ("early", 30, 10)
    save = loop.save_checkpoint

    def die(path, key, tensors, counters):
        save(path, key, tensors, counters)
        if counters["result"]["steps"] == 30:
            raise KeyboardInterrupt

    path = tmp_path / "line.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", die)
        with pytest.raises(KeyboardInterrupt):
            fit(first, settings, path=path)
    found = fit(second, settings, path=path)
    assert replace(found, seconds=0) == replace(expected, seconds=0)
    assert same(second.weights(), whole.weights())


def short_of_memory(rows):
    if len(rows) > 5:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_the_gradient_of_a_batch_in_pieces_is_that_of_the_whole(capsys):
    tasks = [Line(), Line(short_of_memory)]
    found = [take_step(task, State(task, SOME), SOME, 0) for task in tasks]
    assert tasks[1].pieces == [16, 8, 4, 4, 4, 4]
    assert found[1] == pytest.approx(found[0])
    for whole, pieces in zip(*(task.module.parameters() for task in tasks), strict=True):
        torch.testing.assert_close(pieces.grad, whole.grad)
    assert "going on with 4 rows at once" in capsys.readouterr().err


def test_training_with_too_little_memory_gives_the_same_result():
    whole, pieces = Line(), Line(short_of_memory)
    expected, found = fit(whole, SOME), fit(pieces, SOME)
    assert pieces.pieces[2:] == [4] * 4 * SOME.steps
    assert found.best == pytest.approx(expected.best, rel=1e-3)
    for name, value in whole.weights().items():
        torch.testing.assert_close(pieces.weights()[name], value, atol=1e-4, rtol=1e-3)


def test_out_of_memory_with_a_single_row_raises():
    def always(rows):
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: 9"
        )

    task = Line(always)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        fit(task, SOME)
    assert task.pieces == [16, 8, 4, 2, 1]


class Halves(nn.Module):
    """Overflows half precision for images that are nearly white, and gives NaN."""

    def forward(self, x):
        level = x.mean((2, 3)).half()
        large = (level - 0.9).clamp(min=0) * 60000 * 60000
        return large - large + level


def test_an_overflow_raises_at_the_first_image_and_no_wrong_part_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "_PART_ROWS", PART)
    monkeypatch.setattr(latents, "_BATCH", BATCH)
    data = images()
    for row in (201, 202, 299):
        data.pixels[row] = 255
    model, seen = nn.Sequential(Halves()), []
    model.register_forward_hook(lambda _m, x, _o: seen.append(len(x[0])))
    settings = replace(Settings.tiny(), held_out_fraction=0.1)
    with pytest.raises(
        LayerError, match=r"'0' is not finite for \d of \d+ images, the first at index 201\. .*use float32"
    ):
        invkit.explain(
            model, "0", data, preprocess=as_they_are, settings=settings, cache=tmp_path,
        )  # fmt: skip
    assert sum(seen) < 2 * 2 + 202
    kept = list(tmp_path.glob("representations-*/**/*.safetensors"))
    assert 4 <= len(kept) <= 6
    assert all(read_tensors(file)[0]["z"].isfinite().all() for file in kept)


def test_too_little_disk_space_for_the_latents_raises_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_train", lambda *_, **__: pytest.fail("training began"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("usage", "free")(300 * 16 * 4 - 1))
    with pytest.raises(ArtefactError, match=r"Too little disk space.*Got: 19 KiB"):
        explained(tmp_path / "cache")


def made_up(folder, name, total):
    """Fill files with codes and representations that are drawn."""
    places = {"codes": {"mean": (128,), "std": (128,)}, "z": {"z": (512,)}}
    stores = open_stores(total, {key: LatentSpec(shapes, folder / name / key, {}) for key, shapes in places.items()})

    def compute(rows, wanted):
        drawn = torch.randn(rows.stop - rows.start, 640, generator=generator_for(0, name, rows.start))
        found = {"mean": drawn[:, :128], "std": torch.full((len(drawn), 128), 0.1), "z": drawn[:, 128:]}
        return {key: {each: found[each] for each in places[key]} for key in wanted}

    fill_stores(stores, compute, title=name, lock=folder / name, batch=1024)
    return Codes(stores["codes"]["mean"], stores["codes"]["std"]), stores["z"]["z"]


def train_on_many(folder, total):
    """Train on made-up latents and tell the most memory in use, in MB, and the seconds."""
    torch.set_num_threads(1)
    begun, total = time.monotonic(), int(total)
    (codes, z), held_out = made_up(folder, "train", total), made_up(folder, "held-out", total // 10)
    filled = time.monotonic() - begun
    rows = torch.randperm(total)[:4096]
    t = build_t(Settings.tiny(), (128,), codes[rows].mean, z[rows])
    fit(InvarianceTask(t, codes, z, held_out), replace(SOME, steps=30, batch_size=512))
    nll = held_out_nll(t, *held_out)
    assert len(nll) == total // 10
    seconds = {"fill": filled, "all": time.monotonic() - begun}
    print(json.dumps({"rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, **seconds}))


@pytest.mark.slow
@pytest.mark.long
def test_a_million_images_take_the_memory_of_ten_thousand(tmp_path):
    found = []
    for total in (10_000, 1_000_000):
        folder = tmp_path / str(total)
        folder.mkdir()
        try:
            found.append(json.loads(script(folder, "train_on_many", str(total), seconds=300).stdout))
        finally:
            shutil.rmtree(folder)
    assert found[1]["rss"] < found[0]["rss"] + 300

"""The loop: exact resumption, interruption, recovery, averaging; a killed process loses nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from invkit.errors import ArtefactError, SettingsError, TrainingError
from invkit.training import FitSettings, Task, fit, seconds_per_step
from invkit.training.checkpoint import checkpoint_of, load_checkpoint
from invkit.training.sampler import batch_rows
from invkit.utils.io import read_tensors

SETTINGS = FitSettings(steps=60, batch_size=16, learning_rate=1e-2, evaluate_every=10)


class Line(Task):
    """Fit y = 2x by gradient steps, with dropout and noise, so that every kind of draw counts."""

    def __init__(self, trouble=None):
        torch.manual_seed(0)
        self.title, self.rows = "line", 100
        self.module = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 1))
        self.x = torch.randn(100, 1)
        self.steps, self.trouble = 0, trouble

    def loss(self, module, rows, generator):
        self.steps += 1
        x = self.x[rows] + 0.1 * torch.randn(len(rows), 1, generator=generator)
        loss = (module(x) - 2 * x).square().mean()
        return self.trouble(self.steps, loss) if self.trouble else loss

    def validation_loss(self, module):
        return float((module(self.x) - 2 * self.x).square().mean())


def interrupted_at(stop):
    """Return trouble for a :class:`Line`: Ctrl-C at a step."""

    def interrupt(step, loss):
        if step == stop:
            os.kill(os.getpid(), signal.SIGINT)
        return loss

    return interrupt


def weights(task):
    return torch.cat([v.flatten() for v in task.module.state_dict().values()])


def test_it_learns_and_keeps_the_best_average():
    task = Line()
    before = task.validation_loss(task.module.eval())
    result = fit(task, SETTINGS)
    assert result.best < 0.5 * before
    assert task.validation_loss(task.module) == pytest.approx(result.best)
    assert [step for step, *_ in result.history] == [10, 20, 30, 40, 50, 60]


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    runs = []
    for seed in (0, 0, 1):
        task = Line()
        fit(task, SETTINGS, seed=seed)
        runs.append(weights(task))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_it_trains_although_the_caller_has_disabled_gradients():
    task, same = Line(), Line()
    with torch.no_grad():
        fit(task, SETTINGS)
        assert not torch.is_grad_enabled()
    fit(same, SETTINGS)
    assert torch.equal(weights(task), weights(same))


def test_measuring_a_step_changes_nothing():
    task = Line()
    task.module = nn.Sequential(nn.BatchNorm1d(1), *task.module)
    before = {name: value.clone() for name, value in task.module.state_dict().items()}
    state = torch.get_rng_state()
    assert seconds_per_step(task, SETTINGS) > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert task.module.training
    for name, value in task.module.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_global_random_state_is_left_as_found():
    state = torch.get_rng_state()
    task = Line()
    torch.set_rng_state(state)
    fit(task, SETTINGS)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_interruption_loses_no_step(tmp_path):
    fit(Line(interrupted_at(7)), SETTINGS, path=tmp_path / "line")
    rest = Line()
    fit(rest, SETTINGS, path=tmp_path / "line")
    assert rest.steps == SETTINGS.steps - 7


@pytest.mark.parametrize("stop", [5, 25, 59])
def test_a_resumed_run_ends_like_an_uninterrupted_one(tmp_path, stop):
    whole = Line()
    fit(whole, SETTINGS)

    path = tmp_path / "line.safetensors"
    first = Line(interrupted_at(stop))
    assert fit(first, SETTINGS, path=path).stopped == "interrupted"
    second = Line()
    result = fit(second, SETTINGS, path=path)
    assert result.stopped == "done"
    assert torch.equal(weights(second), weights(whole))


def test_a_second_interrupt_stops_at_once():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

    def interrupt(step, loss):
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)
            while signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # two at once would count as one
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        return loss

    try:
        with pytest.raises(KeyboardInterrupt):
            fit(Line(interrupt), SETTINGS)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_recovers_from_one_nan():
    result = fit(Line(lambda step, loss: loss * float("nan") if step == 25 else loss), SETTINGS)
    assert (result.recoveries, result.steps, result.stopped) == (1, 60, "done")


def test_a_persistent_nan_is_reported_with_its_cause():
    with pytest.raises(TrainingError, match=r"line diverged.*step 1\b.*first non-finite gradient: 0.weight"):
        fit(Line(lambda _, loss: loss * float("nan")), SETTINGS)


def test_a_batch_with_fewer_rows_than_processes_is_refused(monkeypatch):
    monkeypatch.setattr("invkit.utils.distributed.world_size", lambda: 17)
    with pytest.raises(SettingsError, match=r"line: some processes.*Expected: batch_size of 17 or more.*Got: 16"):
        fit(Line(), SETTINGS)


def test_it_stops_early_when_nothing_improves():
    settings = FitSettings(steps=1000, learning_rate=0.0, batch_size=16, evaluate_every=10, patience=3)
    result = fit(Line(), settings)
    assert (result.stopped, result.steps) == ("early", 30)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    path = tmp_path / "line.safetensors"
    fit(Line(interrupted_at(25)), SETTINGS, path=path)
    with pytest.raises(ArtefactError, match="another run"):
        fit(Line(), FitSettings(steps=61, batch_size=16), path=path)


def test_a_truncated_checkpoint_is_refused(tmp_path):
    fit(Line(interrupted_at(25)), SETTINGS, path=tmp_path / "line.safetensors")
    path = checkpoint_of(tmp_path / "line.safetensors")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ArtefactError, match="damaged or truncated"):
        load_checkpoint(path, "any")


def test_finished_weights_are_loaded_and_not_trained_again(tmp_path):
    path = tmp_path / "line.safetensors"
    first, second = Line(), Line()
    made = fit(first, SETTINGS, path=path)
    found = fit(second, SETTINGS, path=path)
    assert second.steps == 0
    assert found.best == made.best
    assert torch.equal(weights(first), weights(second))
    assert [file for file in tmp_path.iterdir() if not file.name.startswith(".")] == [path]


@pytest.mark.slow
@pytest.mark.long
def test_a_run_killed_at_random_moments_loses_nothing(tmp_path):
    """SIGKILL again and again: no file is ever corrupt, and the end is that of an undisturbed run."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; from dataclasses import replace\n"
        "from test_loop import Line, SETTINGS, fit\n"
        "fit(Line(), replace(SETTINGS, steps=4000, patience=10**6), path=Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parent)]
    undisturbed, path = tmp_path / "a" / "line.safetensors", tmp_path / "b" / "line.safetensors"
    subprocess.run([*command, str(undisturbed)], check=True)
    kills = 0
    generator = torch.Generator().manual_seed(0)
    for _ in range(6):
        process = subprocess.Popen([*command, str(path)])
        checkpoint = path.with_suffix(".checkpoint")
        while process.poll() is None and not checkpoint.exists():
            time.sleep(0.01)
        time.sleep(float(torch.rand(1, generator=generator)) * 0.8)
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
        if checkpoint.exists():
            read_tensors(checkpoint)
    subprocess.run([*command, str(path)], check=True)
    assert kills >= 2
    assert all(torch.equal(v, read_tensors(undisturbed)[0][k]) for k, v in read_tensors(path)[0].items())


def test_a_full_disk_is_reported_and_the_old_file_kept(tmp_path):
    script = (
        "import resource, signal, sys; from pathlib import Path; import torch\n"
        "from invkit.utils.io import write_tensors, read_tensors; from invkit.errors import ArtefactError\n"
        "path = Path(sys.argv[1]); write_tensors(path, {'a': torch.ones(10)})\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: write_tensors(path, {'a': torch.zeros(10**6)})\n"
        "except ArtefactError as error: print(error)\n"
        "assert read_tensors(path)[0]['a'].sum() == 10; assert len(list(path.parent.iterdir())) == 1\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "x.safetensors")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Cannot write" in done.stdout
    assert "bytes of free space" in done.stdout


@pytest.mark.parametrize("rows", [100, 5000, 200_000, 200_300])
def test_an_epoch_draws_each_row_at_most_once_and_nearly_all(rows):
    size = 512
    batches = [batch_rows(rows, size, step, seed=0) for step in range(rows // min(size, rows) - rows // 65_536)]
    seen = torch.cat(batches)
    assert len(seen.unique()) == len(seen)
    assert len(seen) > 0.98 * (rows - rows % min(size, rows))
    assert torch.equal(batches[-1], batch_rows(rows, size, len(batches) - 1, seed=0))
    assert not torch.equal(batches[0], batch_rows(rows, size, 0, seed=1))


def test_with_many_rows_consecutive_steps_draw_nearby_rows():
    rows = torch.cat([batch_rows(1_000_000, 512, step, seed=0) for step in range(100)])
    assert len((rows // 1024).unique()) < 80
    assert rows.min() < 100_000
    assert rows.max() > 900_000

"""Number format and memory format: pinned, or chosen by a measurement that changes nothing and is remembered."""

import os
import signal
from dataclasses import replace

import pytest
import torch
from torch import nn

from invkit.training import FitSettings, Format, Task, fit, formats, seconds_per_step
from invkit.training.checkpoint import checkpoint_of
from invkit.training.formats import choose_format, in_memory_format, time_formats

FLOAT, LAST = Format("float32", "contiguous"), Format("float32", "channels_last")
HALF, HALF_LAST = Format("bfloat16", "contiguous"), Format("bfloat16", "channels_last")
LONG = FitSettings(steps=1000, batch_size=4, learning_rate=1e-2, precision="auto")
FEW = replace(LONG, steps=8, evaluate_every=2)


@pytest.fixture(autouse=True)
def nothing_chosen_before(monkeypatch):
    monkeypatch.setattr(formats, "_chosen", {})


class Brightness(Task):
    """Predict the brightness of noise with convolutions, batch normalisation and dropout; formats are noted."""

    def __init__(self, trouble=None):
        torch.manual_seed(0)
        self.title, self.rows, self.trouble, self.seen = "brightness", 16, trouble, set()
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(8, 1)]
        self.module = nn.Sequential(
            nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), *head
        )
        self.x = torch.rand(16, 3, 12, 12)

    def loss(self, module, rows, generator):
        if self.trouble is not None:
            self.trouble(self.step)
        maps = module[:4](self.x[rows])
        last = maps.is_contiguous(memory_format=torch.channels_last)
        self.seen.add(Format(str(maps.dtype).removeprefix("torch."), "channels_last" if last else "contiguous"))
        return (module[4:](maps).float().flatten() - self.x[rows].mean((1, 2, 3))).square().mean()

    def validation_loss(self, module):
        return float((module(self.x).float().flatten() - self.x.mean((1, 2, 3))).square().mean())


class Product(Task):
    """A product, without convolutions."""

    title, rows = "product", 4

    def __init__(self):
        self.module = nn.Linear(2, 2)

    def loss(self, module, rows, generator):
        return module(torch.ones(len(rows), 2)).float().square().mean()

    def validation_loss(self, module):
        return 0.0


def steps_take(monkeypatch, milliseconds):
    """Replace the timing of a step; return the list of the formats that were timed."""
    timed = []

    def seconds(probe, state, settings, chosen):
        timed.append(chosen)
        return milliseconds[chosen] / 1000

    monkeypatch.setattr(formats, "_seconds", seconds)
    return timed


@pytest.mark.parametrize("chosen", [FLOAT, LAST, HALF, HALF_LAST])
def test_pinned_formats_are_used_and_recorded_and_the_module_is_contiguous_afterwards(chosen):
    task = Brightness()
    result = fit(task, replace(FEW, precision=chosen.precision, memory_format=chosen.memory_format))
    assert task.seen == {chosen}
    assert result.format == chosen
    assert all(p.is_contiguous() for p in task.module.parameters())


def test_channels_last_trains_as_contiguous_does():
    tasks = [Brightness(), Brightness()]
    for task, memory_format in zip(tasks, ("contiguous", "channels_last"), strict=True):
        fit(task, replace(FEW, precision="float32", memory_format=memory_format))
    for one, other in zip(*(task.module.state_dict().values() for task in tasks), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        ({FLOAT: 10, LAST: 9, HALF: 17, HALF_LAST: 16}, FLOAT),  # not by a clear margin
        ({FLOAT: 10, LAST: 6, HALF: 17, HALF_LAST: 9}, LAST),
        ({FLOAT: 10, LAST: 10, HALF: 6, HALF_LAST: 5.5}, HALF),
        ({FLOAT: 10, LAST: 8, HALF: 6, HALF_LAST: 3}, HALF_LAST),
        ({FLOAT: 10, LAST: 8, HALF: float("inf"), HALF_LAST: float("inf")}, LAST),
    ],
)
def test_the_fastest_format_is_chosen_if_it_is_clearly_faster_than_a_simpler_one(monkeypatch, milliseconds, expected):
    steps_take(monkeypatch, milliseconds)
    assert choose_format(Brightness(), LONG) == expected


def test_settings_limit_what_is_measured(monkeypatch):
    timed = steps_take(monkeypatch, {FLOAT: 10, LAST: 5, HALF: 2, HALF_LAST: 1})
    assert choose_format(Brightness(), replace(LONG, precision="float32")) == LAST
    assert choose_format(Brightness(), replace(LONG, memory_format="contiguous")) == HALF
    assert choose_format(Product(), LONG) == HALF
    assert set(timed) == {FLOAT, LAST, HALF}
    timed.clear()
    assert choose_format(Product(), replace(LONG, precision="float32")) == FLOAT
    assert choose_format(Brightness(), replace(LONG, steps=100)) == FLOAT  # a short run
    assert not timed


def test_a_module_in_channels_last_stays_so(monkeypatch):
    steps_take(monkeypatch, {LAST: 10, HALF_LAST: 20})
    task = Brightness()
    task.module.to(memory_format=torch.channels_last)
    assert choose_format(task, LONG) == LAST
    fit(task, FEW)
    assert task.seen == {LAST}
    assert task.module[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_equal_modules_are_measured_once_in_a_process(monkeypatch):
    timed = steps_take(monkeypatch, {FLOAT: 10, HALF: 20})
    first = choose_format(Product(), LONG)
    count = len(timed)
    timed.clear()
    steps_take(monkeypatch, {FLOAT: 20, HALF: 10})
    assert choose_format(Product(), LONG) == first == FLOAT
    assert count
    assert not timed
    assert choose_format(Product(), replace(LONG, batch_size=2)) == HALF  # another batch


def test_the_main_process_chooses_for_all(monkeypatch):
    steps_take(monkeypatch, {FLOAT: 10, HALF: 20})
    monkeypatch.setattr("invkit.utils.distributed.broadcast", lambda value: HALF if value == FLOAT else value)
    assert choose_format(Product(), LONG) == HALF


def test_formats_take_turns_until_the_time_is_spent_and_a_hopeless_one_is_dropped(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(formats.time, "monotonic", lambda: clock[0])
    timed = []

    def seconds(probe, state, settings, chosen):
        timed.append(chosen)
        clock[0] += {FLOAT: 0.1, HALF: 0.17}[chosen]
        return {FLOAT: 0.1, HALF: 0.17}[chosen]

    monkeypatch.setattr(formats, "_seconds", seconds)
    time_formats(Product(), replace(LONG, steps=450), [FLOAT, HALF])  # 1 % of 45 s
    assert timed == [FLOAT, HALF] * 2 + [FLOAT]  # one step each that is not counted, and two at least
    timed.clear()
    time_formats(Product(), replace(LONG, steps=100_000), [FLOAT, HALF])
    assert timed == [FLOAT, HALF] * 2 + [FLOAT] * 4  # five at most


def test_a_measurement_changes_nothing():
    task = Brightness()
    before = {name: value.clone() for name, value in task.module.state_dict().items()}
    random = torch.get_rng_state()
    taken = time_formats(task, LONG, [FLOAT, LAST, HALF, HALF_LAST])
    assert all(0 < seconds < 10 for seconds in taken.values())
    assert seconds_per_step(task, LONG, FLOAT) > 0
    assert torch.equal(torch.get_rng_state(), random)
    assert task.module.training
    assert (task.step, task.terms) == (0, {})
    for name, value in task.module.state_dict().items():
        assert torch.equal(value, before[name]), name
        assert value.stride() == before[name].stride()
    assert all(p.grad is None for p in task.module.parameters())


def test_training_after_a_measurement_is_that_in_the_pinned_format(monkeypatch):
    monkeypatch.setattr(formats, "_SHORT", 1)
    measured, pinned = Brightness(), Brightness()
    chosen = fit(measured, FEW).format
    fit(pinned, replace(FEW, precision=chosen.precision, memory_format=chosen.memory_format))
    for name, value in pinned.module.state_dict().items():
        assert torch.equal(measured.module.state_dict()[name], value), name


def test_a_format_that_fails_or_overflows_is_not_chosen(monkeypatch):
    class Overflow(Product):
        def loss(self, module, rows, generator):
            found = module(torch.ones(len(rows), 2))
            if found.dtype == torch.bfloat16 and self.fails:
                raise RuntimeError("not implemented for 'BFloat16'")
            return found.float().square().mean() * (float("nan") if found.dtype == torch.bfloat16 else 1)

    for fails in (False, True):
        task = Overflow()
        task.fails = fails
        taken = time_formats(task, LONG, [FLOAT, HALF])
        assert taken[FLOAT] < taken[HALF] == float("inf")


def test_a_copy_that_exceeds_memory_is_not_measured(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(formats, "time_formats", full)
    assert choose_format(Product(), LONG) == FLOAT


@pytest.mark.parametrize("chosen", [LAST, HALF, HALF_LAST])
def test_a_resumed_run_keeps_its_format_and_ends_like_an_uninterrupted_one(monkeypatch, tmp_path, chosen):
    monkeypatch.setattr(formats, "_SHORT", 1)
    monkeypatch.setattr("invkit.training.loop.choose_format", lambda *_: chosen)
    whole, path = Brightness(), tmp_path / "brightness"
    fit(whole, FEW)

    def interrupt(step):
        if step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    assert fit(Brightness(interrupt), FEW, path=path).stopped == "interrupted"
    assert checkpoint_of(path).exists()
    monkeypatch.setattr("invkit.training.loop.choose_format", lambda *_: pytest.fail("measured again"))
    again = Brightness()
    assert fit(again, FEW, path=path).format == chosen
    assert again.seen == {chosen}
    for name, value in whole.module.state_dict().items():
        assert torch.equal(again.module.state_dict()[name], value), name
    assert fit(Brightness(), FEW, path=path).format == chosen  # recorded beside the weights


def test_the_memory_format_is_restored_after_an_error():
    module = nn.Conv2d(3, 4, 3)

    def failing():
        with in_memory_format(module, "channels_last"):
            assert module.weight.is_contiguous(memory_format=torch.channels_last)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert module.weight.is_contiguous()

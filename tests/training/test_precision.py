"""bfloat16 is used where the processor has instructions for it."""

import platform
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from invkit.training import FitSettings, Task, fit, precision

CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(not CPUINFO.exists(), reason="no /proc")
def test_it_says_what_the_kernel_says_of_the_processor():
    flags = set(re.findall(r"\w+", CPUINFO.read_text()))
    names = {"avx512_bf16", "amx_bf16"} if platform.machine() == "x86_64" else {"bf16", "svebf16"}
    assert precision.multiplies_bfloat16("cpu") == bool(flags & names)


class Product(Task):
    """One product, whose type is noted."""

    title, rows = "product", 4

    def __init__(self):
        self.module, self.seen = nn.Linear(2, 2), set()

    def loss(self, module, rows, generator):
        found = module(torch.ones(len(rows), 2))
        self.seen.add(found.dtype)
        return found.float().square().mean()

    def validation_loss(self, module):
        return 0.0


@pytest.mark.parametrize("has", [True, False])
@pytest.mark.parametrize("wanted", [True, False])
def test_training_runs_under_autocast_only_there(wanted, has, monkeypatch):
    monkeypatch.setattr("invkit.training.step.multiplies_bfloat16", lambda _: has)
    task = Product()
    fit(task, FitSettings(steps=1, batch_size=2, precision="auto" if wanted else "float32"))
    assert task.seen == {torch.bfloat16 if wanted and has else torch.float32}

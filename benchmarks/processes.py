"""Throughput of two processes against one, each with one thread: latents of a network, and training of t.

python benchmarks/processes.py

The same work under torchrun with one process and with two, and beside it what the machine gives: two processes of
bare matrix products against one. Two cores that are threads of one give less than twice whatever the program.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torchvision import models

from invkit.data import Codes, ImageSet, represent_all
from invkit.explainer.invariance import build_t
from invkit.interpretees import ModuleInterpretee, Preprocess
from invkit.settings import Settings
from invkit.training import FitSettings, InvarianceTask, fit
from invkit.utils import distributed

IMAGES, ROWS, STEPS, SECONDS = 4096, 8192, 40, 5.0


def products():
    """Matrix products of this process in a second."""
    a, b, done, begun = torch.randn(512, 384), torch.randn(384, 384), 0, time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        for _ in range(50):
            torch.mm(a, b)
        done += 50
    return done / SECONDS


def latents(folder):
    """Images a second through ResNet-18, all processes together."""
    interpretee = ModuleInterpretee(models.resnet18().eval(), Preprocess(size=56))
    images = ImageSet(torch.randint(256, (IMAGES, 3, 64, 64), dtype=torch.uint8))
    layers = [f"layer{k}" for k in (1, 2, 3, 4)]  # in parts of 1,024 images, which processes share
    represent_all(interpretee, layers, images.take(torch.arange(8)), folder / "warm")
    distributed.barrier()
    begun = time.perf_counter()
    represent_all(interpretee, layers, images, folder / "all")
    return IMAGES / (time.perf_counter() - begun)


def steps(batch):
    """Steps a second of t at its default settings, the batch divided among all processes."""
    settings = Settings()
    torch.manual_seed(0)
    mean, z = torch.randn(ROWS, 64), torch.randn(ROWS, 512)
    codes = Codes(mean, torch.ones_like(mean))
    t = build_t(settings, (64,), mean[:2048], z[:2048])
    held_out = (Codes(mean[:64], codes.std[:64]), z[:64])
    task = InvarianceTask(t, codes, z, held_out)
    for count in (3, STEPS * 512 // batch):
        begun = time.perf_counter()
        fit(task, FitSettings(steps=count, batch_size=batch, evaluate_every=count, precision="auto"))
    return (STEPS * 512 // batch) / (time.perf_counter() - begun)


def worker(folder):
    found = {"latents, images/s": latents(folder), "t, steps/s": steps(512), "t, batch 4096": steps(4096)}
    distributed.barrier()
    bare = distributed.mean(torch.tensor([products()])).item() * distributed.world_size()
    if distributed.is_main():
        print(json.dumps({**found, "bare matrix products/s": bare}))


def main():
    told = []
    for count in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
            done = subprocess.run(
                [*launcher, __file__, folder],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                check=True,
            )
            told.append(json.loads(done.stdout.decode().splitlines()[-1]))
    for name in told[0]:
        one, two = (each[name] for each in told)
        print(f"{name:<26}{one:10.1f} of one process, {two:10.1f} of two: {two / one:5.2f} times")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        torch.set_num_threads(1)
        worker(Path(sys.argv[1]))
    else:
        main()

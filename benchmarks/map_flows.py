"""Flows over codes that are maps: held-out nats per dimension against time, and the memory that `recompute` saves.

python benchmarks/map_flows.py

The codes are ColorDigits at 8×8 px, (3, 8, 8), with a little noise, given the digit. All cases see the same codes for
as many steps; seconds are those of training on this machine.
"""

import time
from dataclasses import replace

import torch
import torch.nn.functional as F

from invkit.core import Posterior
from invkit.data import color_digits
from invkit.flows import FlowSettings, InvarianceFlow
from invkit.training import FitSettings, InvarianceTask, fit
from invkit.utils.random import seeded

SHAPE = (3, 8, 8)
FIT = FitSettings(steps=300, batch_size=256, learning_rate=1e-3, weight_decay=0.1, evaluate_every=50, precision="auto")
AFFINE = FlowSettings(n_flow=4)
TARFLOW = FlowSettings(n_flow=4, coupling="tarflow")
CASES = {
    "coupling, 4 blocks a scale, width 32": replace(AFFINE, map_width=32),
    "coupling, 4 blocks a scale, width 64": AFFINE,
    "coupling, 4 blocks a scale, width 128": replace(AFFINE, map_width=128),
    "coupling, 8 blocks a scale, width 64 (default)": replace(AFFINE, n_flow=8),
    "TarFlow, 4 blocks, width 64, depth 1": TARFLOW,
    "TarFlow, 4 blocks, width 64, depth 2": replace(TARFLOW, depth=2),
}


def codes_of(split):
    """Posterior of codes, (N, 192), and the digit as the condition, (N, 10)."""
    data = color_digits(split, copies=4)
    small = F.interpolate(data.images(), SHAPE[1:], mode="bilinear", antialias=True)
    mean = (4 * small - 2).flatten(1)
    return Posterior(mean, torch.full_like(mean, 0.1)), F.one_hot(data.concepts["digit"].values, 10).float()


def build(settings, posterior, z):
    with seeded(0, "benchmark"):
        h = settings.build_embedder((10,), SHAPE)
        t = InvarianceFlow(settings.blocks(SHAPE, h.condition_dim), h, recompute=settings.recompute)
        t.initialize(posterior.mean[:1024], z[:1024])
    return t


def likelihoods(train, test):
    print("seconds  nats/dim  ms for a sample of 64")
    for name, settings in CASES.items():
        t = build(settings, *train)
        begun = time.perf_counter()
        result = fit(InvarianceTask(t, *train, test), FIT)
        seconds = time.perf_counter() - begun
        with torch.inference_mode():
            begun = time.perf_counter()
            t.sample(test[1][:64], 1)
            sampling = time.perf_counter() - begun
        print(f"{seconds:7.1f}  {result.best:8.3f}  {1000 * sampling:8.0f}   {name}", flush=True)


def memory(train):
    """Bytes that one forward pass keeps for the backward pass, and the time of both, with and without `recompute`."""
    print("\nMiB kept  ms a step")
    for name, settings in {"coupling": AFFINE, "TarFlow": TARFLOW}.items():
        for recompute in (False, True):
            t = build(replace(settings, recompute=recompute), *train)
            kept = {}

            def pack(tensor, kept=kept):
                storage = tensor.untyped_storage()
                kept[storage.data_ptr()] = storage.nbytes()
                return tensor

            own = {p.untyped_storage().data_ptr() for p in t.parameters()}
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                loss = t.nll(train[0].mean[:256], train[1][:256]).mean()
            size = sum(n for address, n in kept.items() if address not in own) / 2**20
            loss.backward()
            begun = time.perf_counter()
            for _ in range(3):
                t.nll(train[0].mean[:256], train[1][:256]).mean().backward()
            each = (time.perf_counter() - begun) / 3
            print(f"{size:8.1f}  {1000 * each:9.0f}   {name}{', recompute' if recompute else ''}", flush=True)


if __name__ == "__main__":
    torch.manual_seed(0)
    data = codes_of("train"), codes_of("test")
    memory(data[0])
    likelihoods(*data)

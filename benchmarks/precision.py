"""What bfloat16 autocast is worth on this machine: forward and backward, against float32.

    python benchmarks/precision.py

Training uses it only where the processor multiplies bfloat16 itself. Half a minute.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from invkit.training.precision import multiplies_bfloat16

REPEATS, WARM_UP = 20, 3


def seconds(run: Callable[[], Tensor], bf16: bool) -> float:
    """Return the median time of a forward and a backward pass."""
    times = []
    for _ in range(WARM_UP + REPEATS):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = run().float().square().mean()
        loss.backward()
        times.append(time.perf_counter() - start)
    return sorted(times[WARM_UP:])[REPEATS // 2]


def main() -> None:
    """Print milliseconds and ratios."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)
    maps = torch.randn(64, 64, 28, 28).to(memory_format=torch.channels_last)
    product, vectors = nn.Linear(384, 384), torch.randn(512, 384)
    print(f"the processor multiplies bfloat16 itself: {'yes' if multiplies_bfloat16('cpu') else 'no'}")
    works = {
        "3×3 convolution of 64 × 64 × 28 × 28": lambda: convolution(maps),
        "linear, 512 × 384": lambda: product(vectors),
    }
    for name, run in works.items():
        single, half = (seconds(run, bf16) for bf16 in (False, True))
        print(f"{name}: float32 {1e3 * single:.1f} ms, bfloat16 {1e3 * half:.1f} ms, ratio {half / single:.2f}")


if __name__ == "__main__":
    main()

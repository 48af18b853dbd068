"""Random numbers by address: each draw has its own generator, named by a seed and a path.

No generator's state has to be carried along, so that resuming at step k draws just what an uninterrupted
run draws there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["generator_for", "seed_for", "seeded"]


def seed_for(seed: int, *path: object) -> int:
    """Derive a 63-bit seed from a seed and a path of names and numbers."""
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator_for(seed: int, *path: object) -> torch.Generator:
    """Return a fresh generator for the draws named by the path."""
    return torch.Generator().manual_seed(seed_for(seed, *path))


@contextmanager
def seeded(seed: int, *path: object) -> Iterator[None]:
    """Let what takes no generator (initial weights, dropout) draw the draws named by the path.

    The state of torch's CPU generator is restored; those of other devices are left alone.
    """
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed_for(seed, *path))
        yield

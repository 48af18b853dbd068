"""Random generators derived from a seed and a path of names.

No generator state is carried along, so that a run resumed at step k draws the same as an uninterrupted one.
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
    """Return a new CPU generator for the draws named by a path.

    Example:
        >>> import torch
        >>> from invkit.utils.random import generator_for
        >>> one, two = (torch.rand(3, generator=generator_for(0, "noise", 7)) for _ in range(2))
        >>> torch.equal(one, two)
        True
    """
    return torch.Generator().manual_seed(seed_for(seed, *path))


@contextmanager
def seeded(seed: int, *path: object) -> Iterator[None]:
    """Seed torch's CPU generator within the block, for functions that take no generator (initial weights, dropout).

    Its state is restored afterwards; generators of other devices are unchanged.
    """
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed_for(seed, *path))
        yield

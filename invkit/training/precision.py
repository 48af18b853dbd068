"""Where bfloat16 pays."""

from __future__ import annotations

from functools import cache

import torch

__all__ = ["multiplies_bfloat16"]

_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")  # of x86 and of ARM


@cache
def multiplies_bfloat16(device: str) -> bool:
    """Whether a kind of device (`cpu`, `cuda`) has instructions for products of bfloat16.

    Where it has none they are imitated: on an AVX2 processor convolutions and matrix products then take seven to eight
    times as long as in float32 (`benchmarks/precision.py`).
    """
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu" and hasattr(torch.cpu, "get_capabilities"):  # not in torch 2.4
        known = torch.cpu.get_capabilities()
        return any(known.get(name, False) for name in _INSTRUCTIONS)
    return True

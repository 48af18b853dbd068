"""Models inside torch.compile and DataParallel, and the original names of their modules."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

__all__ = ["bare", "eager", "plain_name"]

_COMPILED = re.compile(r"(?:^|\.)_orig_mod(?=\.|$)")


def bare(model: nn.Module) -> nn.Module:
    """Return the model inside torch.compile and DataParallel, whose modules have their original names."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def plain_name(name: str) -> str:
    """Return the name of a module without the parts that torch.compile adds."""
    return _COMPILED.sub("", name)


def eager(model: nn.Module) -> AbstractContextManager[Any]:
    """Run compiled parts uncompiled: a compiled module does not call hooks that were registered later."""
    compiled = any(hasattr(m, "_orig_mod") or m._compiled_call_impl is not None for m in model.modules())
    if compiled and hasattr(torch.compiler, "set_stance"):  # since torch 2.6
        return torch.compiler.set_stance("force_eager")
    return nullcontext()

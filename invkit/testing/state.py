"""The state of models and of the process that a call must not change."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from invkit.testing.compare import expect

__all__ = ["disturbed", "expect_unchanged", "hooks_of", "in_mode", "models_of", "seeded", "snapshot"]


def models_of(thing: object) -> list[nn.Module]:
    """Return the modules among an object and its attributes, each once."""
    held = [thing, *getattr(thing, "__dict__", {}).values()]
    return list({id(value): value for value in held if isinstance(value, nn.Module)}.values())


def hooks_of(models: Sequence[nn.Module]) -> dict[str, Any]:
    """Return the number of hooks of each module by kind."""
    return {
        f"the hooks of '{name}'": {key: len(value) for key, value in vars(module).items() if key.endswith("_hooks")}
        for model in models
        for name, module in model.named_modules()
    }


def snapshot(models: Sequence[nn.Module], *tensors: Tensor) -> dict[str, Any]:
    """Return copies of what must not change: modes, hooks, parameters, buffers, gradients, random states, tensors."""
    numpys: Any = np.random.get_state()
    found: dict[str, Any] = {
        "torch's random state": torch.get_rng_state(),
        "numpy's random state": (numpys[1].tobytes(), *numpys[2:]),
        "Python's random state": random.getstate(),
        "whether gradients are recorded": torch.is_grad_enabled(),
        "the default dtype": torch.get_default_dtype(),
    }
    if torch.cuda.is_initialized():
        found["the GPU's random state"] = torch.cat(torch.cuda.get_rng_state_all())
    found |= {"the images": torch.cat([tensor.flatten() for tensor in tensors])} if tensors else {}
    found |= hooks_of(models)
    for model in models:
        for name, module in model.named_modules():
            found[f"the mode of '{name}'"] = module.training
        for name, parameter in model.named_parameters():
            found[f"requires_grad of '{name}'"] = parameter.requires_grad
            found[f"the gradient of '{name}'"] = None if parameter.grad is None else parameter.grad.clone()
            found[f"the parameter '{name}'"] = parameter.detach().clone()
        found |= {f"the buffer '{name}'": buffer.clone() for name, buffer in model.named_buffers()}
    return found


def expect_unchanged(before: dict[str, Any], after: dict[str, Any], what: str) -> None:
    """Raise AssertionError if two snapshots differ."""
    changed = [key for key in {**before, **after} if not _same(before.get(key), after.get(key))]
    expect(not changed, f"{what} changed {', '.join(changed[:3])}{' and more' if len(changed) > 3 else ''}")


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and bool(((a == b) | ((a != a) & (b != b))).all())
    return type(a) is type(b) and bool(a == b)


@contextmanager
def disturbed(models: Sequence[nn.Module]) -> Iterator[None]:
    """Put every second module into training mode, freeze every second parameter and set one gradient.

    This shows whether a call restores the previous state instead of setting the usual one.
    """
    modules = [module for model in models for module in model.modules()]
    parameters = [p for model in models for p in model.parameters() if p.is_floating_point()]
    modes = [module.training for module in modules]
    kept = [(p.requires_grad, p.grad) for p in parameters]
    try:
        for k, module in enumerate(modules):
            module.training = k % 2 == 0
        for k, p in enumerate(parameters):
            p.requires_grad_(k % 2 == 0)
        for p in parameters[:1]:
            p.grad = torch.ones_like(p)
        with torch.enable_grad():
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
        for p, (requires_grad, grad) in zip(parameters, kept, strict=True):
            p.requires_grad_(requires_grad)
            p.grad = grad


@contextmanager
def in_mode(models: Sequence[nn.Module], training: bool) -> Iterator[None]:
    """Put all modules into one mode; their modes are restored afterwards."""
    modes = [(module, module.training) for model in models for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = training
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's generators; their states are restored afterwards."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield

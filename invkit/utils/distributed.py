"""The processes of one run, by Hugging Face Accelerate: `torchrun --nproc-per-node 2 explain.py`.

Every process runs the same program. A process alone, the usual case, imports no Accelerate.
"""

from __future__ import annotations

import os
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = [
    "barrier",
    "broadcast",
    "device",
    "is_main",
    "local_world_size",
    "mean",
    "move_to_device",
    "parallel",
    "rank",
    "world_size",
]

T = TypeVar("T")


@cache
def _accelerator() -> Accelerator | None:
    """What a launcher started together; None for a process alone."""
    started = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not started and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    from accelerate import Accelerator, InitProcessGroupKwargs

    patient = InitProcessGroupKwargs(timeout=timedelta(days=7))  # the main process may wait for another run's training
    return Accelerator(cpu=not torch.cuda.is_available(), kwargs_handlers=[patient])


def world_size() -> int:
    """Return the number of processes."""
    found = _accelerator()
    return 1 if found is None else found.num_processes


def local_world_size() -> int:
    """Return the number of processes on this machine, as launchers tell it."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def rank() -> int:
    """Return the number of this process, from 0."""
    found = _accelerator()
    return 0 if found is None else found.process_index


def is_main() -> bool:
    """Whether this process writes files and shows progress."""
    return rank() == 0


def device() -> torch.device:
    """Return this process's GPU if there is one, else the CPU."""
    found = _accelerator()
    if found is not None:
        return found.device
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def move_to_device(module: Any) -> None:
    """Put a module of torch on this process's GPU, where there is one and the module is on none."""
    if isinstance(module, nn.Module) and all(p.device.type == "cpu" for p in module.parameters()):
        module.to(device())


def barrier() -> None:
    """Wait until all processes are here."""
    found = _accelerator()
    if found is not None:
        found.wait_for_everyone()


def broadcast(value: T) -> T:
    """Return the main process's value in all."""
    found = _accelerator()
    if found is None:
        return value
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0]


def mean(values: Tensor) -> Tensor:
    """Return the mean of a tensor over all processes."""
    found = _accelerator()
    return values if found is None else found.reduce(values.to(found.device), "mean")


def parallel(module: nn.Module, *, unused: bool = False) -> nn.Module:
    """Return the module with gradients averaged over all processes, and at first the main one's weights in all.

    Args:
        module: all parameters of which get a gradient in each step.
        unused: not all do.
    """
    found = _accelerator()
    if found is None:
        return module
    from accelerate import DistributedDataParallelKwargs

    found.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=unused)
    return found.prepare_model(module, device_placement=False)

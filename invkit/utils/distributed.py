"""Several processes of one run, by Hugging Face Accelerate: `torchrun --nproc-per-node 2 explain.py`.

Every process runs the same program. A single process does not import Accelerate.
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
    """Return the Accelerator of the run; None if there is one process only."""
    started = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not started and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    from accelerate import Accelerator, InitProcessGroupKwargs

    timeout = InitProcessGroupKwargs(timeout=timedelta(days=7))  # the main process may wait for another run
    return Accelerator(cpu=not torch.cuda.is_available(), kwargs_handlers=[timeout])


def world_size() -> int:
    """Return the number of processes."""
    found = _accelerator()
    return 1 if found is None else found.num_processes


def local_world_size() -> int:
    """Return the number of processes on this machine, as set by the launcher."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def rank() -> int:
    """Return the number of this process, from 0."""
    found = _accelerator()
    return 0 if found is None else found.process_index


def is_main() -> bool:
    """Whether this process writes files and shows progress."""
    return rank() == 0


def device() -> torch.device:
    """Return the device of this process: its GPU, if any, else the CPU."""
    found = _accelerator()
    if found is not None:
        return found.device
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def move_to_device(module: Any) -> None:
    """Move a torch module that is on the CPU to the GPU of this process, if any."""
    if isinstance(module, nn.Module) and all(p.device.type == "cpu" for p in module.parameters()):
        module.to(device())


def barrier() -> None:
    """Wait until all processes reach this point."""
    found = _accelerator()
    if found is not None:
        found.wait_for_everyone()


def broadcast(value: T) -> T:
    """Return the main process's value in all processes."""
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
    """Return the module with gradients averaged over all processes; it starts from the main process's weights.

    Args:
        module: to be trained.
        unused: whether some parameters may get no gradient in a step.
    """
    found = _accelerator()
    if found is None:
        return module
    from accelerate import DistributedDataParallelKwargs

    found.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=unused)
    return found.prepare_model(module, device_placement=False)

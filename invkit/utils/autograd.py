"""Freezing of modules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["frozen"]


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Freeze a module's parameters within the block; gradients still pass through it.

    Example:
        >>> import torch
        >>> from invkit.utils.autograd import frozen
        >>> layer = torch.nn.Linear(2, 1)
        >>> x = torch.ones(1, 2, requires_grad=True)
        >>> with frozen(layer):
        ...     layer(x).sum().backward()
        >>> layer.weight.grad is None, x.grad is None
        (True, False)
    """
    learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for parameter in learned:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)

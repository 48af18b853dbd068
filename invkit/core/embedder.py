"""The contract of an embedder H: a representation z of any shape to one condition h for all blocks (paper, eq. 16)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

__all__ = ["Embedder"]


class Embedder(nn.Module, ABC):
    """A network H that maps representations (B, *shape) to conditions (B, C).

    :func:`invkit.testing.check_embedder` checks that an implementation

    - returns finite conditions (B, C) in the dtype of z;
    - treats each row of a batch alone, in evaluation mode, so that a batch of one has its row's condition;
    - depends on z, with finite gradients in z and in every trainable parameter;
    - has neither a draw of random numbers nor a change of state in :meth:`forward`: whatever depends on data goes into
      :meth:`initialize`, which the trainer calls once;
    - is restored by ``load_state_dict``, and built again by ``type(h)(**h.config)`` with a `config` that survives JSON.

    Attributes:
        condition_dim: C, the width that was asked for.
        config: JSON-able arguments that build the same module again; ``config["shape"]`` is the shape of z without the
            batch axis.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from invkit.core import Embedder
        >>> class Linear(Embedder):
        ...     def __init__(self, shape, condition_dim):
        ...         super().__init__()
        ...         self.config = {"shape": list(shape), "condition_dim": condition_dim}
        ...         self.condition_dim = condition_dim
        ...         self.net = nn.Sequential(nn.Flatten(), nn.LazyLinear(condition_dim))
        ...     def forward(self, z):
        ...         return self.net(z)
        >>> Linear((8, 3, 3), 4)(torch.rand(2, 8, 3, 3)).shape
        torch.Size([2, 4])
    """

    condition_dim: int
    config: dict[str, Any]

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """Return the conditions (B, C) of representations z (B, *shape)."""

    def initialize(self, z: Tensor, noise: float = 0.0) -> None:
        """Set data-dependent parameters from a first batch. The default has none.

        Args:
            z: (B, *shape), without noise.
            noise: standard deviation of the noise that will be added to each element.
        """

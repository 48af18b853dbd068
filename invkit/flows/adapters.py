"""Blocks of other flow libraries behind invkit's contract; none of them is imported, hand over a module of theirs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from invkit.core import FlowBlock, Transformed

__all__ = ["FreiaBlock", "NormflowsBlock", "ZukoBlock"]


class _Foreign(FlowBlock):
    """Holds a module of another library.

    Args:
        module: theirs.
        dim: number of channels D.
        condition_dim: C, width of the condition that it takes; 0 if it takes none, and then none is handed on.
    """

    def __init__(self, module: nn.Module, dim: int, condition_dim: int = 0) -> None:
        super().__init__()
        self.config = {"dim": dim, "condition_dim": condition_dim}
        self.module: Any = module

    def _taken(self, condition: Tensor | None) -> Tensor | None:
        return condition if self.config["condition_dim"] else None


def _transformed(value: Tensor, log_det: Tensor) -> Transformed:
    return Transformed(value, log_det.to(torch.promote_types(log_det.dtype, torch.float32)).expand(len(value)))


class FreiaBlock(_Foreign):
    """An `InvertibleModule` or `SequenceINN` of FrEIA (Ardizzone et al., 2018), over vectors."""

    def _call(self, x: Tensor, condition: Tensor | None, *, rev: bool) -> Transformed:
        taken = self._taken(condition)
        conditions = {} if taken is None else {"c": [taken]}  # not every module of theirs knows the argument
        one = hasattr(self.module, "module_list")  # a SequenceINN takes and gives a tensor, a module a tuple of them
        value, log_det = self.module(x if one else (x,), rev=rev, **conditions)
        return _transformed(value if one else value[0], torch.as_tensor(log_det, dtype=x.dtype, device=x.device))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Transformed:
        """Run it forward."""
        return self._call(x, condition, rev=False)

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Transformed:
        """Run it with ``rev=True``."""
        return self._call(y, condition, rev=True)


class ZukoBlock(_Foreign):
    """A `LazyTransform` of zuko. Mind that importing zuko turns off the validation of all torch distributions."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Transformed:
        """Apply the transform that the condition gives."""
        return _transformed(*self.module(self._taken(condition)).call_and_ladj(x))

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Transformed:
        """Apply its inverse."""
        return _transformed(*self.module(self._taken(condition)).inv.call_and_ladj(y))


class NormflowsBlock(_Foreign):
    """A `Flow` of normflows, whose own direction is from latent to data."""

    def _context(self, condition: Tensor | None) -> dict[str, Tensor]:
        taken = self._taken(condition)
        return {} if taken is None else {"context": taken}  # few of their flows know the argument

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Transformed:
        """Run its inverse."""
        return _transformed(*self.module.inverse(x, **self._context(condition)))

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Transformed:
        """Run it forward."""
        return _transformed(*self.module.forward(y, **self._context(condition)))

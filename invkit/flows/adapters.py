"""Adapters for blocks of other flow libraries. None of these is imported: pass a module of the library."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from invkit.core import FlowBlock, Transformed

__all__ = ["FreiaBlock", "NormflowsBlock", "ZukoBlock"]


class _Foreign(FlowBlock):
    """A module of another library.

    Args:
        module: the module.
        dim: number of channels D.
        condition_dim: C, width of the condition that it takes; 0 if it takes none, and then none is passed.
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
    """An `InvertibleModule` or `SequenceINN` of FrEIA (Ardizzone et al., 2018), over vectors.

    Args:
        module: the module.
        dim: number of channels D.
        condition_dim: C, width of the condition that it takes; 0 for none.

    Example:
        >>> import FrEIA.modules
        >>> import torch
        >>> from invkit.flows import FreiaBlock
        >>> block = FreiaBlock(FrEIA.modules.PermuteRandom([(4,)], seed=0), dim=4)
        >>> block(torch.rand(2, 4)).value.shape
        torch.Size([2, 4])
    """

    def _call(self, x: Tensor, condition: Tensor | None, *, rev: bool) -> Transformed:
        taken = self._taken(condition)
        conditions = {} if taken is None else {"c": [taken]}  # not every module has the argument
        one = hasattr(self.module, "module_list")  # a SequenceINN takes and returns a tensor, a module a tuple
        value, log_det = self.module(x if one else (x,), rev=rev, **conditions)
        return _transformed(value if one else value[0], torch.as_tensor(log_det, dtype=x.dtype, device=x.device))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Transformed:
        """Run the module forward."""
        return self._call(x, condition, rev=False)

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Transformed:
        """Run the module with ``rev=True``."""
        return self._call(y, condition, rev=True)


class ZukoBlock(_Foreign):
    """A `LazyTransform` of zuko. Importing zuko disables the validation of all torch distributions.

    Args:
        module: the transform.
        dim: number of channels D.
        condition_dim: C, width of the condition that it takes; 0 for none.

    Example:
        >>> import torch
        >>> import zuko
        >>> from invkit.flows import ZukoBlock
        >>> block = ZukoBlock(zuko.flows.MaskedAutoregressiveTransform(4, 3), dim=4, condition_dim=3)
        >>> block(torch.rand(2, 4), torch.rand(2, 3)).value.shape
        torch.Size([2, 4])
    """

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Transformed:
        """Apply the transform of the condition."""
        return _transformed(*self.module(self._taken(condition)).call_and_ladj(x))

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Transformed:
        """Apply its inverse."""
        return _transformed(*self.module(self._taken(condition)).inv.call_and_ladj(y))


class NormflowsBlock(_Foreign):
    """A `Flow` of normflows, whose own direction is latent to data.

    Args:
        module: the flow.
        dim: number of channels D.
        condition_dim: C, width of the condition that it takes; 0 for none.

    Example:
        >>> import normflows
        >>> import torch
        >>> from invkit.flows import NormflowsBlock
        >>> block = NormflowsBlock(normflows.flows.LULinearPermute(4), dim=4)
        >>> block(torch.rand(2, 4)).value.shape
        torch.Size([2, 4])
    """

    def _context(self, condition: Tensor | None) -> dict[str, Tensor]:
        taken = self._taken(condition)
        return {} if taken is None else {"context": taken}  # few flows have the argument

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Transformed:
        """Run the inverse of the flow."""
        return _transformed(*self.module.inverse(x, **self._context(condition)))

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Transformed:
        """Run the module forward."""
        return _transformed(*self.module.forward(y, **self._context(condition)))

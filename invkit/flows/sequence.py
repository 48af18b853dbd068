"""A sequence of blocks, with an optional backward pass without stored activations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from invkit.core import FlowBlock, Transformed

__all__ = ["FlowSequence"]


class FlowSequence(FlowBlock):
    """Blocks applied one after the other, all with the same condition.

    Args:
        blocks: the blocks, from data to latent.
        recompute: store only the output for the backward pass and recompute each block's input by its inverse.
            Activation memory then doesn't grow with the number of blocks. It takes about twice the time (fifteen times
            for TarFlow, whose inverse computes one patch after the other, `benchmarks/map_flows.py`). Gradients are the
            same up to rounding.

    Example:
        >>> import torch
        >>> from invkit.flows import ActNorm, AffineCoupling, FlowSequence, Shuffle
        >>> flow = FlowSequence([ActNorm(4), AffineCoupling(4, width=16), Shuffle(4)])
        >>> x = torch.rand(8, 4)
        >>> torch.allclose(flow.inverse(flow(x).value).value, x)
        True
    """

    def __init__(self, blocks: Iterable[FlowBlock], *, recompute: bool = False) -> None:
        super().__init__()
        blocks = list(blocks)
        self.blocks = nn.ModuleList(blocks)
        self.recompute = recompute
        self.config = {"recompute": recompute}
        self.broadcasts = all(block.broadcasts for block in blocks)

    @property
    def dim(self) -> int:
        """D, the number of channels of its blocks."""
        first = self.blocks[0]
        assert isinstance(first, FlowBlock)
        return first.dim

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Transformed:
        """Apply all blocks in order."""
        if self.recompute and torch.is_grad_enabled():
            value, log_det = _Recomputed.apply(self, x, condition, *self.parameters())
            return Transformed(value, log_det)
        return self._run(x, condition)

    def _run(self, x: Tensor, condition: Tensor | None) -> Transformed:
        total: Tensor | None = None
        for block in self.blocks:
            x, log_det = block(x, condition)
            total = log_det if total is None else total + log_det
        return Transformed(x, total if total is not None else x.new_zeros(len(x)))

    def inverse(self, y: Tensor, condition: Tensor | None = None) -> Transformed:
        """Apply all inverses, last block first."""
        total: Tensor | None = None
        for block in reversed(self.blocks):
            assert isinstance(block, FlowBlock)
            y, log_det = block.inverse(y, condition)
            total = log_det if total is None else total + log_det
        return Transformed(y, total if total is not None else y.new_zeros(len(y)))

    @torch.no_grad()
    def initialize(self, x: Tensor, condition: Tensor | None = None) -> None:
        """Initialise each block on the output of the blocks before it."""
        for block in self.blocks:
            assert isinstance(block, FlowBlock)
            block.initialize(x, condition)
            x = block(x, condition).value


class _Recomputed(torch.autograd.Function):
    """The sequence as one node of autograd's graph that stores only its output."""

    @staticmethod
    def forward(
        ctx: Any, sequence: FlowSequence, x: Tensor, condition: Tensor | None, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        value, log_det = sequence._run(x, condition)
        ctx.sequence, ctx.parameters = sequence, parameters
        ctx.save_for_backward(value, condition)
        return value, log_det

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        grad_value, grad_log_det = gradients
        value, condition = ctx.saved_tensors
        condition = None if condition is None else condition.detach().requires_grad_()
        grad_condition = None if condition is None else torch.zeros_like(condition)
        of_parameter: dict[int, Tensor] = {}
        for block in reversed(ctx.sequence.blocks):
            with torch.no_grad():
                x = block.inverse(value, condition).value
            with torch.enable_grad():
                x.requires_grad_()
                out = block(x, condition)
                parameters = [p for p in block.parameters() if p.requires_grad]
                wanted = [x, *parameters] + ([] if condition is None else [condition])
                outputs = [(out.value, grad_value), (out.log_det, grad_log_det)]
                outputs = [(o, g) for o, g in outputs if o.requires_grad]
                found = torch.autograd.grad([o for o, _ in outputs], wanted, [g for _, g in outputs], allow_unused=True)
            grad_value = found[0]
            for parameter, gradient in zip(parameters, found[1:], strict=False):
                if gradient is not None:
                    seen = of_parameter.get(id(parameter))
                    of_parameter[id(parameter)] = gradient if seen is None else seen + gradient
            if grad_condition is not None and found[-1] is not None:
                grad_condition = grad_condition + found[-1]
            value = x.detach()
        return None, grad_value, grad_condition, *(of_parameter.get(id(p)) for p in ctx.parameters)

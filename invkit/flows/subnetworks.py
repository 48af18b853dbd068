"""The fully connected networks inside coupling blocks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Subnetwork"]


class Subnetwork(nn.Module):
    """A multilayer perceptron of the driving half and the condition, (B, D) and (B, C) to (B, out).

    Args:
        dim_in: D, width of the driving half.
        dim_condition: C, width of the condition; 0 ignores the condition.
        dim_out: number of outputs.
        width: h_w of table S10.
        depth: h_d of table S10: hidden layers beyond the first, so depth + 2 Linear layers.
        zero: start with zero output, so that the block starts as the identity. The paper's networks don't.
    """

    def __init__(
        self, dim_in: int, dim_condition: int, dim_out: int, width: int, depth: int, *, zero: bool = True
    ) -> None:
        super().__init__()
        self.dim_condition = dim_condition
        layers: list[nn.Module] = [nn.Linear(dim_in + dim_condition, width), nn.LeakyReLU(0.01, inplace=True)]
        for _ in range(depth):
            layers += [nn.Linear(width, width), nn.LeakyReLU(0.01, inplace=True)]
        last = nn.Linear(width, dim_out)
        if zero:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.main = nn.Sequential(*layers, last)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return the outputs in x's dtype, also under autocast.

        For x (B, n, D) the condition may be (B, 1, C); its part of the first layer is then computed once.
        """
        if not self.dim_condition:
            out: Tensor = self.main(x)
            return out.to(x.dtype)
        assert condition is not None, "this block was built with a condition"
        condition = condition.to(x.dtype)
        if condition.shape[:-1] == x.shape[:-1]:
            out = self.main(torch.cat([x, condition], -1))
            return out.to(x.dtype)
        first, *others = self.main
        assert isinstance(first, nn.Linear)
        of_x, of_condition = first.weight.split([x.shape[-1], self.dim_condition], 1)
        out = F.linear(x, of_x) + F.linear(condition, of_condition, first.bias)
        for layer in others:
            out = layer(out)
        return out.to(x.dtype)

"""Class, register and patch tokens of a transformer, as parts of a layer address."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["TOKEN_PARTS", "TokenLayout"]

TOKEN_PARTS = ("cls", "registers", "patches")


@dataclass(frozen=True)
class TokenLayout:
    """The layout of the tokens (B, T, C) of a model: class token, registers, then patches row by row.

    Attributes:
        prefix: number of tokens before the patches (timm's `num_prefix_tokens`).
        cls: whether the first of them is a class token.
        grid: rows and columns of patches; None if unknown, patches then stay a sequence.

    Example:
        >>> import torch
        >>> layout = TokenLayout(prefix=1, grid=(4, 4))
        >>> layout.part(torch.rand(2, 17, 8), "patches").shape
        torch.Size([2, 8, 4, 4])
    """

    prefix: int
    cls: bool = True
    grid: tuple[int, int] | None = None

    def part(self, tokens: Tensor, name: str) -> Tensor:
        """Return one part of tokens (B, T, C).

        ``cls`` is (B, C), ``registers`` is (B, R, C), and ``patches`` is a map (B, C, rows, columns), or (B, P, C) if
        their number differs from the grid's.

        Raises:
            KeyError: the model has no such token.
        """
        first = int(self.cls)
        if (name == "cls" and not self.cls) or (name == "registers" and self.prefix == first):
            raise KeyError(name)
        if name == "cls":
            return tokens[:, 0]
        if name == "registers":
            return tokens[:, first : self.prefix]
        patches = tokens[:, self.prefix :]
        if self.grid is None or patches.shape[1] != self.grid[0] * self.grid[1]:
            return patches
        return patches.transpose(1, 2).unflatten(2, self.grid)

"""An interpretee as one `nn.Module`, for libraries that hook all that a module is made of."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

__all__ = ["ScoreModule"]


class ScoreModule(nn.Module):
    """f(x) of images (B, 3, H, W) in [0, 1] as (B, C), the model's preprocessing included.

    Args:
        model: which is run, and whose modules can be hooked.
        scores: runs it.
    """

    def __init__(self, model: nn.Module, scores: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model
        self._scores = scores

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores, with gradients to the images while torch records any."""
        return self._scores(images)

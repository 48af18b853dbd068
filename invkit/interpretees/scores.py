"""An interpretee as one `nn.Module`, for libraries that hook all submodules."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

__all__ = ["ScoreModule"]


class ScoreModule(nn.Module):
    """f(x), (B, C), of images (B, 3, H, W) in [0, 1], preprocessing included.

    Args:
        model: the model, whose submodules can be hooked.
        scores: function that runs the model on images.
    """

    def __init__(self, model: nn.Module, scores: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model
        self._scores = scores

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores, with gradients to the images while torch records any."""
        return self._scores(images)

"""The contract of a model that can be cut at a layer: f = Ψ∘Φ."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from invkit.errors import LayerError

__all__ = ["Interpretee", "LayerInfo"]


@dataclass(frozen=True)
class LayerInfo:
    """A layer that fires in a forward pass.

    Attributes:
        address: what to pass as `layer`, for instance ``features.11`` or ``block@1`` (its second call).
        type: the module's class name.
        shape: shape of its output for one image, without the batch axis; None where that is no tensor.
        calls: how often the module is called in one forward pass.
        parameters: number of parameters of the module, its children included.
        receptive_field: px across the model's input that one unit reads, its width where that is all; None where it
            was not measured or cannot be known.
    """

    address: str
    type: str
    shape: tuple[int, ...] | None
    calls: int
    parameters: int
    receptive_field: int | None = None

    def bytes(self, images: int) -> int:
        """Return the size of its float32 representations of so many images; 0 where the shape is unknown."""
        return 0 if self.shape is None else 4 * images * math.prod(self.shape)


class Interpretee(ABC):
    """A model to be explained, cut at a layer: z = Φ(x), f(x) = Ψ(z) (paper, sec. 3).

    Images are float, (B, 3, H, W), in [0, 1], of any size; the interpretee knows its own size and
    normalisation. No method leaves a trace on the model.

    Attributes:
        scores_classes: whether :meth:`decide` gives scores of classes, of which the largest is the decision; not so of
            an embedding.
        categories: names of those classes, empty where they are unknown.
    """

    scores_classes: bool = True
    categories: tuple[str, ...] = ()

    @abstractmethod
    def layers(self) -> list[LayerInfo]:
        """List the layers that fire, in the order in which they first return."""

    @abstractmethod
    def represent(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return Φ(x) at each of the layers from one forward pass that stops after the deepest.

        Args:
            images: (B, 3, H, W) in [0, 1].
            layers: addresses, as listed by :meth:`layers`.

        Returns:
            for each address its own copy of the representation, (B, …), floating point.

        Raises:
            LayerError: an address names nothing, never fires, or gives no floating-point tensor.
        """

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """As :meth:`represent`, with gradients to the images and to nothing else, for distances that are trained with.

        Raises:
            LayerError: also where a model gives no gradients, which is the default.
        """
        raise LayerError(
            f"This {type(self).__name__} gives no gradients to its images",
            expected="an interpretee with `features`",
            hint="That of any torch.nn.Module has them: invkit.ModuleInterpretee(model).",
        )

    @property
    def input_shape(self) -> tuple[int, int] | None:
        """Height and width in px of what the model sees, where these are fixed; None for the images' own."""
        return None

    @abstractmethod
    def decide(self, images: Tensor) -> Tensor:
        """Return the model's decision f(x): logits or an embedding, (B, C)."""

    def is_decision(self, output: Tensor) -> bool:
        """Whether an output of the model, (B, …), holds scores of two classes or more, the largest of which decides."""
        return self.scores_classes and output.ndim == 2 and output.shape[1] > 1

    def __call__(self, images: Tensor) -> Tensor:
        """Return f(x) as :meth:`decide` does, for libraries that take a model as a function of images (captum).

        A model that has :meth:`features` gives gradients to the images here too, while torch records any. The default
        gives none, which is enough for methods that change the images and look, such as occlusion.
        """
        return self.decide(images)

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a hash of everything that decides the representation: weights, buffers, preprocessing."""

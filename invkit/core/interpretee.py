"""The contract of a model that can be split at a layer: f = Ψ∘Φ."""

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
        shape: shape of its output for one image, without the batch axis; None if the output is no floating-point
            tensor.
        calls: how often the module is called in one forward pass.
        parameters: number of parameters of the module, its children included.
        receptive_field: width in pixels of the part of the model's input that one unit depends on; the input's width if
            it depends on all of it, None if it was not or cannot be measured.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from invkit import ModuleInterpretee
        >>> (info,) = ModuleInterpretee(nn.Sequential(nn.Conv2d(3, 4, 3))).layers(torch.rand(1, 3, 8, 8))[:1]
        >>> info.address, info.type, info.shape, info.bytes(images=10)
        ('0', 'Conv2d', (4, 6, 6), 5760)
    """

    address: str
    type: str
    shape: tuple[int, ...] | None
    calls: int
    parameters: int
    receptive_field: int | None = None

    def bytes(self, images: int) -> int:
        """Return the size in bytes of its float32 representations of a number of images; 0 if the shape is unknown."""
        return 0 if self.shape is None else 4 * images * math.prod(self.shape)


class Interpretee(ABC):
    """A model to be explained, split at a layer: z = Φ(x), f(x) = Ψ(z) (paper, sec. 3).

    Images are float, (B, 3, H, W), in [0, 1], of any size; the interpretee resizes and normalises them for the model.
    :func:`invkit.testing.check_interpretee` checks that an implementation

    - lists each layer once, those that fire in a forward pass and no other, with shape and number of calls. At least
      one has a floating-point tensor with a row for each image;
    - is deterministic: neither torch's random state nor the training or evaluation mode of the model changes a result;
    - represents each image of a batch alone, to 1e-3 of the largest value (5e-2 in half precision);
    - returns one representation for each address that was passed, in that order, each its own writable copy in float32
      on the images' device, without a graph, and the same for several layers as for one at a time;
    - returns the same shapes for images of any size, if :attr:`input_shape` is not None;
    - has a decision (B, C), equal to the layer ``output`` if it has that layer;
    - changes nothing: no mode, hook, parameter, buffer, gradient or `requires_grad` of the model, no random state and
      no image, also where it raises. An exception inside the model reaches the caller;
    - raises LayerError for an unknown layer, whose message contains the nearest addresses: for ``xconv1`` also
      ``conv1``;
    - has a fingerprint that changes with each parameter and buffer, comes back with the state dict, and is the same in
      every process: no ``repr`` with an address in memory goes into it;
    - inverts its preprocessing to 1e-4 at the model's size, if it has ``preprocess.inverse``.

    The kit finds the model by the attributes that are torch modules, if any; an interpretee need not have one
    (docs/plugins.md has an example).

    Attributes:
        scores_classes: whether :meth:`decide` returns scores of classes, of which the largest is the decision; False
            for an embedding.
        categories: names of those classes, empty if they are unknown.

    Example:
        >>> import torch
        >>> from invkit.core import Interpretee, LayerInfo
        >>> from invkit.errors import LayerError
        >>> class MeanColour(Interpretee):
        ...     def layers(self):
        ...         return [LayerInfo("output", "mean", (3,), 1, 0)]
        ...     def represent(self, images, layers):
        ...         for layer in layers:
        ...             if layer != "output":
        ...                 raise LayerError(f"No layer '{layer}'", expected="output")
        ...         return {"output": images.mean((2, 3))}
        ...     def decide(self, images):
        ...         return images.mean((2, 3))
        ...     def fingerprint(self):
        ...         return "mean colour"
        >>> from invkit.testing import check_interpretee
        >>> check_interpretee(MeanColour()).passed
        True
    """

    scores_classes: bool = True
    categories: tuple[str, ...] = ()

    @abstractmethod
    def layers(self) -> list[LayerInfo]:
        """Return the layers that fire, each once, in the order in which they first return."""

    @abstractmethod
    def represent(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return Φ(x) at each of the layers, from one forward pass that may stop after the deepest.

        Args:
            images: (B, 3, H, W) in [0, 1].
            layers: addresses, as listed by :meth:`layers`.

        Returns:
            the representation (B, …) by address, in the order of `layers`; each is a float32 copy of its own.

        Raises:
            LayerError: an address is unknown (the message contains the nearest ones), the layer never fires, or its
                output is no floating-point tensor.
        """

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return representations as :meth:`represent` does, with gradients to the images only, for use in a loss.

        Raises:
            LayerError: as there, or the interpretee has no gradients, which is the default.
        """
        raise LayerError(
            f"This {type(self).__name__} has no gradients to its images",
            expected="an interpretee with `features`",
            hint="invkit.ModuleInterpretee(model) has them for any torch.nn.Module.",
        )

    @property
    def input_shape(self) -> tuple[int, int] | None:
        """Height and width in pixels to which images are resized; None if they keep their own size."""
        return None

    @abstractmethod
    def decide(self, images: Tensor) -> Tensor:
        """Return the model's decision f(x): logits or an embedding, (B, C)."""

    def is_decision(self, output: Tensor) -> bool:
        """Whether an output of the model, (B, …), holds scores of two or more classes, of which the largest decides."""
        return self.scores_classes and output.ndim == 2 and output.shape[1] > 1

    def __call__(self, images: Tensor) -> Tensor:
        """Return f(x) as :meth:`decide` does, for libraries that take a model as a function of images (captum).

        An interpretee with :meth:`features` has gradients to the images here too, while torch records any. The default
        has none, which suffices for methods that change the images, such as occlusion.
        """
        return self.decide(images)

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a hash of everything that determines a representation: parameters, buffers, preprocessing."""

"""The layers that the paper explains, by the paper's names, and the tokens of vision transformers."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision import models
from torchvision.models import segmentation
from torchvision.models.squeezenet import Fire

from invkit.interpretees import NamedLayer, TokenLayout

__all__ = ["named_layers", "token_layout"]


def named_layers(model: nn.Module) -> dict[str, NamedLayer]:
    """Return a model's layers by the paper's names (supplement, tables S11 to S16).

    Layers of the same name in paper and torchvision (``input``, ``maxpool``, ``layer1`` to ``layer4``, ``fc``) need no
    name, but the paper's ``avgpool`` is a vector. A segmentation model's ``output``, a dict of maps, is averaged to
    the vector that is its decision. A modified model that lacks one of the layers has no names.
    """
    found = _named(model)
    there = {*dict(model.named_modules()), "output.out"}
    return found if all(layer.address in there for layer in found.values()) else {}


def _named(model: nn.Module) -> dict[str, NamedLayer]:
    if isinstance(model, models.AlexNet):
        return {
            "conv5": NamedLayer("features.10"),
            "fc6": NamedLayer("classifier.1"),
            "fc7": NamedLayer("classifier.4"),
            "fc8": NamedLayer("classifier.6"),
            "softmax": NamedLayer("classifier.6", _softmax),
        }
    if isinstance(model, models.SqueezeNet):
        fires = [name for name, module in model.named_modules() if isinstance(module, Fire)]
        return {"penultimate_fire": NamedLayer(fires[-2])} if len(fires) > 1 else {}
    if isinstance(model, models.ResNet):
        return {"avgpool": NamedLayer("avgpool", _flatten)}
    if isinstance(model, (segmentation.FCN, segmentation.DeepLabV3, segmentation.LRASPP)):
        return {"output": NamedLayer("output.out", _mean)}
    return {}


def token_layout(model: nn.Module) -> TokenLayout | None:
    """Return the layout of a vision transformer's tokens: one class token, then the patches."""
    if not isinstance(model, models.VisionTransformer):
        return None
    side = model.image_size // model.patch_size
    return TokenLayout(prefix=1, cls=True, grid=(side, side))


def _flatten(z: Tensor) -> Tensor:
    return z.flatten(1)


def _mean(z: Tensor) -> Tensor:
    return z.mean((2, 3))


def _softmax(z: Tensor) -> Tensor:
    return z.softmax(1)

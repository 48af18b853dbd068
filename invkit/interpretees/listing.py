"""The layers of a model, with shapes and receptive fields."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from invkit.core import Interpretee, LayerInfo
from invkit.errors import InvkitWarning
from invkit.interpretees.inputs import input_channels
from invkit.interpretees.module import ModuleInterpretee
from invkit.interpretees.preprocess import Preprocess
from invkit.interpretees.resolve import as_interpretee

__all__ = ["for_listing", "layers"]


def layers(model: Any, images: Tensor | None = None, *, receptive_fields: bool = True) -> list[LayerInfo]:
    """List the layers of a model that fire: address, type, output shape, calls, parameters, receptive field.

    A plain `nn.Module` whose first convolution takes one channel is run on a grey image.

    Args:
        model: any `nn.Module` that takes images, a name (``timm:resnet18``) or an interpretee.
        images: images (B, 3, H, W) in [0, 1] to run it on; None for a mid-grey image at the model's own size, or 64 px.
        receptive_fields: measure them too, which takes seconds for a ResNet-50.

    Raises:
        DataError: not a model, or one that takes another number of channels than its preprocessing makes.
        PluginError: no plugin offers a model of that name.

    Example:
        >>> import invkit
        >>> from torch import nn
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> for layer in invkit.layers(network):
        ...     print(layer.address, layer.type, layer.shape, layer.receptive_field)
        0 Conv2d (8, 62, 62) 3
        1 ReLU (8, 62, 62) 3
        2 AdaptiveAvgPool2d (8, 1, 1) 64
        3 Flatten (8,) 64
    """
    interpretee = for_listing(model)
    if not isinstance(interpretee, ModuleInterpretee):
        return interpretee.layers()
    fields = interpretee.receptive_fields(images) if receptive_fields else {}
    return [replace(info, receptive_field=fields.get(info.address)) for info in interpretee.layers(images)]


def for_listing(model: Any) -> Interpretee:
    """Return the interpretee of a model whose layers are only listed: shapes do not depend on the normalisation.

    No warning is raised for an unknown preprocessing, and a plain module whose first convolution takes one channel gets
    grey images.

    Args:
        model: as in :func:`layers`.

    Raises:
        InvkitError: as :func:`invkit.interpretees.as_interpretee`.

    Example:
        >>> for_listing(nn.Conv2d(1, 4, 3)).preprocess.channels
        1
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InvkitWarning)
        found = as_interpretee(model)
    if not isinstance(model, nn.Module) or not isinstance(found, ModuleInterpretee):
        return found
    known = found.preprocess
    if isinstance(known, Preprocess) and known.channels == 3 and input_channels(found.module) == 1:
        return as_interpretee(found, Preprocess(known.size, mode=known.mode, channels=1))
    return found

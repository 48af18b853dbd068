"""A reference for captured layers, which shares no code with the capture of :mod:`invkit.interpretees`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from invkit.interpretees import ModuleInterpretee
from invkit.interpretees.wrapped import eager, plain_name
from invkit.testing.state import in_mode, seeded

__all__ = ["PlainPass", "plain_pass"]


@dataclass
class PlainPass:
    """One forward pass of a bare model in evaluation mode.

    Attributes:
        shapes: shapes of the outputs of each module that fired, batch included, one for each call; None for anything
            other than a floating-point tensor.
        values: outputs of the requested modules, one for each call; None as in `shapes`.
        output: output of the model.
    """

    shapes: dict[str, list[tuple[int, ...] | None]] = field(default_factory=dict)
    values: dict[str, list[Tensor | None]] = field(default_factory=dict)
    output: Any = None


def plain_pass(interpretee: ModuleInterpretee, images: Tensor, keep: Collection[str] = ()) -> PlainPass:
    """Run the bare model on preprocessed images to the end, with plain hooks.

    Args:
        interpretee: interpretee of the model.
        images: (B, 3, H, W) in [0, 1].
        keep: names of modules whose outputs are cloned when they fire.
    """
    network = interpretee.module
    found = PlainPass()

    def hook_for(name: str) -> Callable[..., None]:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            floats = isinstance(output, Tensor) and output.is_floating_point()
            found.shapes.setdefault(name, []).append(tuple(output.shape) if floats else None)
            if name in keep:
                found.values.setdefault(name, []).append(output.clone() if floats else None)

        return hook

    modules = {plain_name(name): module for name, module in network.named_modules() if name}
    handles = [module.register_forward_hook(hook_for(name)) for name, module in modules.items()]
    try:
        with eager(network), in_mode([network], False), seeded(0), torch.no_grad():
            parameter = next((p for p in network.parameters() if p.is_floating_point()), None)
            if parameter is not None:
                images = images.to(parameter.device)
            inputs = interpretee.preprocess(images)
            found.output = network(inputs if parameter is None else inputs.to(parameter.dtype))
    finally:
        for handle in handles:
            handle.remove()
    return found

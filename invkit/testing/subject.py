"""An interpretee under test, with images, layers and representations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from invkit.core import Interpretee, LayerInfo
from invkit.interpretees import ModuleInterpretee
from invkit.testing.reference import PlainPass, plain_pass
from invkit.testing.state import hooks_of, models_of
from invkit.utils.random import generator_for

__all__ = ["Subject"]

_MANY = 12  # layers for the slow checks


@dataclass(frozen=True)
class Subject:
    """An interpretee under test. Expensive properties are computed once, at first use.

    Attributes:
        interpretee: the interpretee.
        asked: layers to check; None for layers spread over the depth.
        given: images to check on; None for random ones at the model's own size, or 64 px.
    """

    interpretee: Interpretee
    asked: Sequence[str] | None = None
    given: Tensor | None = None

    def __post_init__(self) -> None:
        self.hooks_at_first  # noqa: B018  # before any call: some interpretees register permanent hooks

    @cached_property
    def hooks_at_first(self) -> dict[str, Any]:
        """The hooks of each module before the first call."""
        return hooks_of(self.models)

    @cached_property
    def images(self) -> Tensor:
        """Two images, (2, 3, H, W)."""
        if self.given is not None:
            return torch.cat([self.given, self.given.flip(-1)])[:2] if len(self.given) < 2 else self.given[:2]
        height, width = self.interpretee.input_shape or (64, 64)
        return self.random_images(2, height, width)

    def list_layers(self) -> list[LayerInfo]:
        """List the layers, on the given images if the interpretee takes any."""
        if self.given is not None and isinstance(self.interpretee, ModuleInterpretee):
            return self.interpretee.layers(self.images[:1])
        return self.interpretee.layers()

    @cached_property
    def listed(self) -> list[LayerInfo]:
        """The listed layers."""
        return self.list_layers()

    def random_images(self, n: int, height: int, width: int) -> Tensor:
        """Return n images in [0, 1], the same at each call; the global generator is not used."""
        images = torch.rand(n, 3, height, width, generator=generator_for(0, "testing", height, width))
        return images if self.given is None else images.to(self.given.device)

    @cached_property
    def plain(self) -> PlainPass | None:
        """A plain pass; None if there is no bare model."""
        return plain_pass(self.interpretee, self.images) if isinstance(self.interpretee, ModuleInterpretee) else None

    def shapes(self, info: LayerInfo) -> list[tuple[int, ...] | None]:
        """Return the output shapes of a listed layer at each call, batch included; or else the listed one."""
        assumed = None if info.shape is None else (len(self.images), *info.shape)
        return self.plain.shapes.get(info.address, [assumed]) if self.plain is not None else [assumed]

    @cached_property
    def tensors(self) -> list[LayerInfo]:
        """The listed layers that return a floating-point tensor."""
        return [info for info in self.listed if self.shapes(info)[0] is not None]

    @cached_property
    def explainable(self) -> list[str]:
        """Addresses whose outputs have a row for each image (not so inside attention windows), at their last call."""
        found = []
        for info in self.tensors:
            shapes = self.shapes(info)
            if shapes[-1] is not None and shapes[-1][:1] == (len(self.images),):
                found.append(info.address if len(shapes) == 1 else f"{info.address}@{len(shapes) - 1}")
        return found

    @cached_property
    def layers(self) -> list[str]:
        """Addresses for the slow checks, spread over the depth."""
        if self.asked is not None:
            return list(self.asked)
        found = self.explainable
        places = torch.linspace(0, len(found) - 1, min(_MANY, len(found))).round().long().tolist()
        return [found[k] for k in places]

    @cached_property
    def whole(self) -> dict[str, Tensor]:
        """Representations of both images at all layers, in the original mode of the model."""
        return self.interpretee.represent(self.images, self.layers)

    @cached_property
    def models(self) -> list[nn.Module]:
        """The modules that the interpretee holds."""
        return models_of(self.interpretee)

    @property
    def network(self) -> nn.Module:
        """The module whose layers are addressed; there must be one."""
        return self.interpretee.module if isinstance(self.interpretee, ModuleInterpretee) else self.models[0]

    @cached_property
    def half(self) -> bool:
        """Whether the model has weights of half precision."""
        dtypes = {p.dtype for model in self.models for p in model.parameters()}
        return bool(dtypes & {torch.float16, torch.bfloat16})

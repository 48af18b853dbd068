"""The interpretee of any torch module, by forward hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from invkit.core import Interpretee, LayerInfo
from invkit.errors import DataError
from invkit.interpretees.addresses import OUTPUT, expand, parse, pick
from invkit.interpretees.capture import capture, untouched
from invkit.interpretees.preprocess import Preprocess
from invkit.serialize import fingerprint

__all__ = ["ModuleInterpretee", "as_interpretee"]


class ModuleInterpretee(Interpretee):
    """Any `nn.Module` that takes images, cut at any layer that fires.

    A layer is addressed by its dotted name (``features.11``), its second call (``block@1``), a part of its
    output (``encoder[0]``, ``encoder.state``), ``input`` (what the model sees) or ``output``.

    Args:
        model: takes (B, 3, H, W) as `preprocess` gives it.
        preprocess: from images in [0, 1] to the model's input; None if the model takes [0, 1] itself.
        categories: names of the model's classes, where it has any.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocess: Callable[[Tensor], Tensor] | None = None,
        categories: Sequence[str] = (),
    ) -> None:
        self.model = model
        self.preprocess = preprocess or Preprocess()
        self.categories = tuple(categories)
        core = getattr(model, "_orig_mod", model)  # a compiled model's modules are those of the original
        self._run: nn.Module = core
        self._modules: Mapping[str, nn.Module] = {name: m for name, m in core.named_modules() if name}

    def __repr__(self) -> str:
        return f"ModuleInterpretee({type(self._run).__name__})"

    def _inputs(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise DataError(
                "Not a batch of images",
                expected="float (B, 3, H, W) in [0, 1]",
                got=f"{images.dtype} {tuple(images.shape)}",
            )
        parameter = next((p for p in self._run.parameters() if p.is_floating_point()), None)
        prepared = self.preprocess(images if parameter is None else images.to(parameter.device))
        return prepared if parameter is None else prepared.to(parameter.dtype)

    def resolve(self, layer: str | nn.Module) -> str:
        """Give the address of a layer that may be handed over as the module itself.

        Raises:
            LayerError: it is not part of the model.
        """
        if isinstance(layer, nn.Module):
            name = next((name for name, module in self._modules.items() if module is layer), None)
            return parse(f"<{type(layer).__name__}>" if name is None else name, self._modules).text
        return layer if any(sign in layer for sign in "*?") else parse(layer, self._modules).text

    def layers(self, images: Tensor | None = None) -> list[LayerInfo]:
        """List the layers that fire, in the order in which they first return.

        Args:
            images: what to run the model on; None for a grey image at the preprocessing's size (or 64 px).
        """
        if images is None:
            size = getattr(self.preprocess, "size", None) or 64
            images = torch.full((1, 3, size, size), 0.5)
        seen: dict[str, list[Any]] = {}
        handles = []

        def hook_for(name: str) -> Callable[[nn.Module, Any, Any], None]:
            return lambda _m, _i, output: seen.setdefault(name, []).append(_shape(output))

        try:
            for name, module in self._modules.items():
                handles.append(module.register_forward_hook(hook_for(name)))
            with untouched(self._run):
                self._run(self._inputs(images[:1]))
        finally:
            for handle in handles:
                handle.remove()
        return [
            LayerInfo(
                name,
                type(self._modules[name]).__name__,
                shapes[0],
                len(shapes),
                sum(p.numel() for p in self._modules[name].parameters()),
            )
            for name, shapes in seen.items()
        ]

    def expand(self, layers: Sequence[str | nn.Module]) -> list[str]:
        """Give addresses for modules, names and globs; a glob matches layers that fire."""
        texts = [self.resolve(layer) for layer in layers]
        if any(sign in text for text in texts for sign in "*?"):
            return expand(texts, [info.address for info in self.layers()])
        return expand(texts, [])

    def represent(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Give Φ(x) at each of the layers, float32 on the images' device."""
        addresses = [parse(layer, self._modules) for layer in layers]
        with untouched(self._run):
            found = capture(self._run, self._modules, addresses, self._inputs(images))
        return {layer: found[layer].float().to(images.device) for layer in layers}

    def decide(self, images: Tensor) -> Tensor:
        """Give the model's output, (B, C)."""
        with untouched(self._run):
            output = self._run(self._inputs(images))
        return pick(output, parse(OUTPUT, self._modules)).float().to(images.device)

    def fingerprint(self) -> str:
        """Hash weights, buffers, class and preprocessing."""
        return fingerprint(self._run.state_dict(), type(self._run).__qualname__, repr(self.preprocess))


def _shape(output: Any) -> tuple[int, ...] | None:
    return tuple(output.shape[1:]) if isinstance(output, Tensor) else None


def as_interpretee(model: Any, preprocess: Callable[[Tensor], Tensor] | None = None) -> Interpretee:
    """Give the interpretee of a module; one that is handed over passes.

    Raises:
        DataError: neither.
    """
    if isinstance(model, Interpretee):
        return model
    if isinstance(model, nn.Module):
        return ModuleInterpretee(model, preprocess)
    raise DataError(
        "Cannot explain this model",
        expected="a torch.nn.Module or an invkit Interpretee",
        got=type(model).__name__,
    )

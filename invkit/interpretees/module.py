"""The interpretee of any torch module, by forward hooks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from inspect import isroutine
from types import NoneType
from typing import Any, Self

import torch
from torch import Tensor, nn

from invkit.core import Interpretee, LayerInfo
from invkit.errors import DataError, InvkitError, LayerError
from invkit.interpretees.addresses import OUTPUT, Address, expand, parse, pick, unknown_layer
from invkit.interpretees.capture import capture, untouched
from invkit.interpretees.hookable import hookable
from invkit.interpretees.inputs import expect_input
from invkit.interpretees.preprocess import Preprocess
from invkit.interpretees.receptive import receptive_fields
from invkit.interpretees.scores import ScoreModule
from invkit.interpretees.tokens import TokenLayout
from invkit.interpretees.wrapped import bare, plain_name
from invkit.utils.io import content_hash

__all__ = ["ModuleInterpretee", "NamedLayer"]


@dataclass(frozen=True)
class NamedLayer:
    """A layer under another name, for instance the paper's ``conv5``.

    Attributes:
        address: of the layer.
        then: what is applied to its output, for instance a softmax.
    """

    address: str
    then: Callable[[Tensor], Tensor] | None = None


class ModuleInterpretee(Interpretee):
    """Any `nn.Module` that takes images, cut at any layer that fires.

    A layer is addressed by its dotted name (``features.11``), its second call (``block@1``), a part of its
    output (``encoder[0]``, ``encoder.state``, with `tokens` also ``block.cls``, ``block.registers`` and
    ``block.patches``), ``input`` (what the model sees) or ``output``.

    Args:
        model: takes (B, 3, H, W) as `preprocess` gives it.
        preprocess: from images in [0, 1] to the model's input; None if the model takes [0, 1] itself.
        categories: names of the model's classes, where it has any.
        tokens: layout of a transformer's tokens.
        named: layers under other names.
        scores_classes: whether its output are scores of classes; not so of an embedding, or of values.

    Attributes:
        module: the model itself, out of torch.compile and DataParallel.

    Raises:
        DataError: a model in TorchScript, scripted or traced.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocess: Callable[[Tensor], Tensor] | None = None,
        categories: Sequence[str] = (),
        *,
        tokens: TokenLayout | None = None,
        named: Mapping[str, NamedLayer] | None = None,
        scores_classes: bool = True,
    ) -> None:
        self.model = model
        self.preprocess = preprocess or Preprocess()
        self.categories = tuple(categories)
        self.tokens = tokens
        self.named = dict(named or {})
        self.scores_classes = scores_classes
        self.module = bare(model)
        if isinstance(self.module, torch.jit.ScriptModule):
            raise DataError(
                "TorchScript cannot be looked into",
                expected="a torch.nn.Module as Python runs it",
                got=type(self.module).__name__,
                hint="Pass the nn.Module that it was made of.",
            )
        every = self.module.named_modules(remove_duplicate=False)  # a shared module by each of its names
        self._modules: dict[str, nn.Module] = {plain_name(name): m for name, m in every if name}
        first = {module: name for name, module in reversed(self._modules.items())}
        self._aliases = {name: first[m] for name, m in self._modules.items() if first[m] != name}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self.module).__name__})"

    def _parse(self, layer: str) -> Address:
        if layer in self.named:
            return replace(parse(self.named[layer].address, self._modules), text=layer)
        try:
            address = parse(layer, self._modules)
        except LayerError:
            raise unknown_layer(layer, [*self._modules, *self.named]) from None
        twice = self._aliases.get(address.module)
        if twice is not None:
            part = re.sub(r"^@\d+", "", layer.removeprefix(address.module))
            raise LayerError(
                f"'{layer}' is another name of '{twice}{part}'",
                expected=f"'{twice}{part}' for its first call, '{twice}@1{part}' for its second, and so on",
            )
        return address

    def _inputs(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise DataError(
                "Not a batch of images",
                expected="float (B, 3, H, W) in [0, 1]",
                got=f"{images.dtype} {tuple(images.shape)}",
            )
        parameter = next((p for p in self.module.parameters() if p.is_floating_point()), None)
        # a copy, which a preprocessing may change in place; of float32 at least, since a CPU resizes no halves
        own = images.to(torch.promote_types(images.dtype, torch.float32), copy=True)
        prepared = self._prepared(own if parameter is None else own.to(parameter.device))
        return prepared if parameter is None else prepared.to(parameter.dtype)

    def _prepared(self, images: Tensor) -> Tensor:
        try:
            prepared: Any = self.preprocess(images)
        except (InvkitError, MemoryError, RuntimeError):  # where memory runs out batches are halved
            raise
        except Exception as error:
            raise _no_function_of_a_batch(f"{type(error).__name__}: {error}") from error
        if not isinstance(prepared, Tensor):
            raise _no_function_of_a_batch(f"one that gives {type(prepared).__name__}")
        return prepared

    def resolve(self, layer: str | nn.Module) -> str:
        """Return the address of a layer that may be handed over as the module itself.

        Raises:
            LayerError: it is not part of the model.
        """
        if isinstance(layer, nn.Module):
            name = next((name for name, module in self._modules.items() if module is layer), None)
            return parse(f"<{type(layer).__name__}>" if name is None else name, self._modules).text
        if not any(sign in layer for sign in "*?"):
            self._parse(layer)
        return layer

    def layers(self, images: Tensor | None = None) -> list[LayerInfo]:
        """List the layers that fire, in the order in which they first return.

        Args:
            images: what to run the model on; None for a grey image at the preprocessing's size (or 64 px).
        """
        images = self._image(images)
        seen: dict[str, list[Any]] = {}
        handles = []

        def hook_for(name: str) -> Callable[[nn.Module, Any, Any], None]:
            return lambda _m, _i, output: seen.setdefault(name, []).append(_shape(output))

        try:
            for name in self._modules.keys() - self._aliases.keys():
                module = self._modules[name]
                handles.append(module.register_forward_hook(hook_for(name)))
            self._call(images, gradients=False)
        finally:
            for handle in handles:
                handle.remove()
        found = [
            LayerInfo(
                name,
                type(self._modules[name]).__name__,
                shapes[0],
                len(shapes),
                sum(p.numel() for p in self._modules[name].parameters()),
            )
            for name, shapes in seen.items()
            if name not in self.named
        ]
        also = self.represent(images, list(self.named)) if self.named and not self._is_empty() else {}
        return found + [
            LayerInfo(name, f"= {self.named[name].address}", tuple(z.shape[1:]), 1, 0) for name, z in also.items()
        ]

    def receptive_fields(self, images: Tensor | None = None) -> dict[str, int | None]:
        """Measure how many px across the model's input one unit of each module reads: :func:`receptive_fields`.

        Args:
            images: as of :meth:`layers`.
        """
        if self._is_empty():
            return {}
        return receptive_fields(self.module, self._modules, self._inputs(self._image(images)))

    def _is_empty(self) -> bool:
        return any(parameter.is_meta for parameter in self.module.parameters())

    def _expect_weights(self) -> None:
        if self._is_empty():
            raise DataError(
                f"This {type(self.module).__name__} is on the device `meta`: it has shapes, but no weights",
                expected="a model with weights",
                hint="model.to_empty(device='cpu'), then model.load_state_dict(...).",
            )

    def _image(self, images: Tensor | None) -> Tensor:
        if images is not None:
            return images[:1]
        return torch.full((1, 3, *(self.input_shape or (64, 64))), 0.5)

    @property
    def input_shape(self) -> tuple[int, int] | None:
        """Height and width in px of what the model sees, where the preprocessing fixes them."""
        return getattr(self.preprocess, "shape", None)

    def expand(self, layers: Sequence[str | nn.Module]) -> list[str]:
        """Return addresses for modules, names and globs; a glob matches layers that fire."""
        texts = [self.resolve(layer) for layer in layers]
        if any(sign in text for text in texts for sign in "*?"):
            return expand(texts, [info.address for info in self.layers()])
        return expand(texts, [])

    def represent(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return Φ(x) at each of the layers, float32 on the images' device."""
        return self._captured(images, layers, gradients=False)

    def features(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Return Φ(x) at each of the layers with gradients to the images, float32 on their device."""
        return self._captured(images, layers, gradients=True)

    def _captured(self, images: Tensor, layers: Sequence[str], *, gradients: bool) -> dict[str, Tensor]:
        self._expect_weights()
        addresses = {layer: self._parse(layer) for layer in layers}
        with untouched(self.module, gradients=gradients):
            inputs = self._inputs(images)
            with expect_input(self.module, inputs):
                found = capture(self.module, self._modules, list(addresses.values()), inputs, self.tokens)
        return {layer: self._finish(layer, found[layer]).to(images.device) for layer in addresses}

    def _finish(self, layer: str, z: Tensor) -> Tensor:
        then = self.named[layer].then if layer in self.named else None
        return z.float() if then is None else then(z.float())

    def decide(self, images: Tensor) -> Tensor:
        """Return the model's output, (B, C), or the layer that is named ``output``."""
        if "output" in self.named:
            return self.represent(images, ["output"])["output"]
        return self._as_decision(self.forward(images), images)

    def __call__(self, images: Tensor) -> Tensor:
        """Return f(x) as :meth:`decide` does, with gradients to the images while torch records any.

        So it is a forward function of captum's methods: ``IntegratedGradients(interpretee)``, and of its layer methods
        with :meth:`module_at`: ``LayerGradCam(interpretee, interpretee.module_at("features.11"))``. Those that hook the
        model throughout (DeepLift, GuidedBackprop, LRP) take :meth:`as_module`.
        """
        if not torch.is_grad_enabled():
            return self.decide(images)
        if "output" in self.named:
            return self.features(images, ["output"])["output"]
        return self._as_decision(self._run(images, gradients=True), images)

    def _as_decision(self, output: Any, images: Tensor) -> Tensor:
        """Return f(x) of what the model returned; a subclass whose model returns something else says how."""
        return pick(output, Address("output", OUTPUT, 0, ())).float().to(images.device)

    def forward(self, images: Tensor) -> Any:
        """Return whatever the model returns for images (B, 3, H, W) in [0, 1]."""
        return self._run(images, gradients=False)

    def _run(self, images: Tensor, *, gradients: bool) -> Any:
        self._expect_weights()
        return self._call(images, gradients=gradients)

    def _call(self, images: Tensor, *, gradients: bool) -> Any:
        with untouched(self.module, gradients=gradients):
            inputs = self._inputs(images)
            with expect_input(self.module, inputs):
                return self.module(inputs)

    def module_at(self, layer: str, images: Tensor | None = None) -> nn.Module:
        """Return the module whose output is the layer, for libraries that hook it themselves (captum's layer methods).

        Args:
            layer: an address, or another name such as the paper's ``conv5``.
            images: what to run the model on, to see that the module is called once; as of :meth:`layers`.

        Raises:
            LayerError: an address that names nothing, or no module's one output as a whole: ``input``, ``output``, a
                part (tokens), one of several calls, a layer that never fires, or one that a function is applied to.
        """
        applied = layer in self.named and self.named[layer].then is not None
        return hookable(self._parse(layer), self._modules, lambda: self.forward(self._image(images)), applied=applied)

    def as_module(self) -> ScoreModule:
        """Return the interpretee as an `nn.Module` of images in [0, 1]: ``DeepLift(interpretee.as_module())``."""
        return ScoreModule(self.module, self)

    def around(self, model: nn.Module) -> Self:
        """Return the interpretee of another model of the same architecture, say with other weights."""
        other = copy(self)  # of the same class, with whatever that keeps
        ModuleInterpretee.__init__(
            other,
            model,
            self.preprocess,
            self.categories,
            tokens=self.tokens,
            named=self.named,
            scores_classes=self.scores_classes,
        )
        return other

    def fingerprint(self) -> str:
        """Hash weights, buffers, structure, plain attributes, preprocessing, layout of tokens and named layers.

        Not the code of the modules: it differs between versions of Python, and an explanation that was saved with one
        must still know its model with the next.
        """
        named = {name: [layer.address, *_plain("then", layer.then)] for name, layer in self.named.items()}
        texts = [_lasting(thing) for thing in (self.module, self.preprocess, self.tokens)]
        ramp = torch.linspace(0, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
        state = self.preprocess.state_dict() if isinstance(self.preprocess, nn.Module) else {}
        try:
            prepared = self.preprocess(ramp.to(next(iter(state.values()), ramp).device)).cpu()
        except Exception:  # it may take other sizes only; its text has to do
            prepared = ramp
        return content_hash(self.module.state_dict(), texts, named, prepared, _plain_attributes(self.module))


def _no_function_of_a_batch(got: str) -> DataError:
    return DataError(
        "The preprocessing does not take these images",
        expected="a function of a float batch (B, 3, H, W) in [0, 1], which gives such a tensor",
        got=got,
        hint="Leave ToTensor out: images are tensors already.",
    )


#: attributes that say nothing of what a module computes: a mode, timm's source of weights, transformers' devices
_NOTES = {"training", "pretrained_cfg", "default_cfg", "hf_device_map"}


def _plain_attributes(module: nn.Module) -> list[str]:
    """What the modules hold beside tensors and modules, which is in no state dict and seldom in a module's text.

    Without lists and sizes, which are mostly of the last run: torchvision's detectors gather the scales of their maps;
    and without what libraries note of where weights came from and went.
    """
    return [
        line
        for name, part in module.named_modules()
        for key, value in sorted(vars(part).items())
        if not key.startswith("_") and key not in _NOTES and not isinstance(value, (NoneType, list, torch.Size))
        for line in _plain(f"{name}.{key}", value)
    ]


def _plain(name: str, value: Any) -> Iterator[str]:
    """Text of the numbers, words and functions in a value, however deep; all else says nothing."""
    if isinstance(value, partial):
        value = (value.func, value.args, value.keywords)
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _plain(f"{name}[{_lasting(key)}]", each)
    elif isinstance(value, (NoneType, bool, int, float, str)):
        yield f"{name}={value!r}"
    elif isroutine(value) or isinstance(value, type):
        module, own = (getattr(value, key, None) or "" for key in ("__module__", "__qualname__"))
        package = module if "." in module else ""  # a script goes by another name with each way to run it
        yield f"{name}={package}:{own}"


def _lasting(thing: Any) -> str:
    """Text of a thing that is the same in every process: without addresses in memory."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(thing))


def _shape(output: Any) -> tuple[int, ...] | None:
    return tuple(output.shape[1:]) if isinstance(output, Tensor) else None

"""The interpretee of any torch module, which captures layers by forward hooks."""

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
        address: address of the layer.
        then: function that is applied to its output, for instance a softmax.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
        >>> named = {"softmax": NamedLayer("1", lambda z: z.softmax(1))}
        >>> interpretee = ModuleInterpretee(network, named=named)
        >>> interpretee.represent(torch.rand(2, 3, 2, 2), ["softmax"])["softmax"].shape
        torch.Size([2, 5])
    """

    address: str
    then: Callable[[Tensor], Tensor] | None = None


class ModuleInterpretee(Interpretee):
    """Any `nn.Module` that takes images, cut at any layer that fires.

    A layer is addressed by its dotted name (``features.11``), its second call (``block@1``), a part of its
    output (``encoder[0]``, ``encoder.state``, with `tokens` also ``block.cls``, ``block.registers`` and
    ``block.patches``), ``input`` (the preprocessed images) or ``output``. The model is never changed: modes, hooks,
    gradients and random states are restored after each call.

    Args:
        model: network that takes the output of `preprocess`, by default (B, 3, H, W).
        preprocess: function from images (B, 3, H, W) in [0, 1] to the model's input, for instance a
            :class:`Preprocess`; it makes grey images for a model of one channel. None if the model takes [0, 1].
        categories: names of the model's classes, if it has any.
        tokens: layout of a transformer's tokens.
        named: layers under other names.
        scores_classes: whether the output holds scores of classes; False for an embedding, or for values.

    Attributes:
        module: the model itself, without torch.compile and DataParallel around it.

    Raises:
        DataError: a model in TorchScript, scripted or traced.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8 * 36, 10))
        >>> interpretee = ModuleInterpretee(network, Preprocess(size=8, mean=(0.5, 0.5, 0.5)))
        >>> interpretee
        ModuleInterpretee(Sequential)
        >>> images = torch.rand(4, 3, 32, 32)
        >>> z = interpretee.represent(images, ["0", "output"])
        >>> z["0"].shape, z["output"].shape
        (torch.Size([4, 8, 6, 6]), torch.Size([4, 10]))

        A network of one channel sees grey images:

        >>> lenet = nn.Sequential(nn.Conv2d(1, 6, 5), nn.Tanh(), nn.Flatten())
        >>> grey = ModuleInterpretee(lenet, Preprocess(size=28, mean=(0.1307,), std=(0.3081,)))
        >>> grey.represent(images, ["0"])["0"].shape
        torch.Size([4, 6, 24, 24])
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
                "Layers of TorchScript cannot be captured",
                expected="a torch.nn.Module that runs in Python",
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
        # a copy, since a preprocessing may change it in place; at least float32, since a CPU cannot resize halves
        own = images.to(torch.promote_types(images.dtype, torch.float32), copy=True)
        prepared = self._prepared(own if parameter is None else own.to(parameter.device))
        return prepared if parameter is None else prepared.to(parameter.dtype)

    def _prepared(self, images: Tensor) -> Tensor:
        try:
            prepared: Any = self.preprocess(images)
        except (InvkitError, MemoryError, RuntimeError):  # batches are halved where memory runs out
            raise
        except Exception as error:
            raise _no_function_of_a_batch(f"{type(error).__name__}: {error}") from error
        if not isinstance(prepared, Tensor):
            raise _no_function_of_a_batch(f"one that returns {type(prepared).__name__}")
        return prepared

    def resolve(self, layer: str | nn.Module) -> str:
        """Return the address of a layer that is passed as an address or as the module itself.

        Args:
            layer: address, glob or module.

        Raises:
            LayerError: it is not part of the model.

        Example:
            >>> from torch import nn
            >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
            >>> ModuleInterpretee(network).resolve(network[1])
            '1'
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
            images: images (B, 3, H, W) to run the model on; None for a mid-grey image at the preprocessing's size, or
                64 px.

        Raises:
            DataError: the model does not take such images.
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
        """Measure how many px across the model's input each module's units depend on, see :func:`receptive_fields`.

        Args:
            images: as in :meth:`layers`.
        """
        if self._is_empty():
            return {}
        return receptive_fields(self.module, self._modules, self._inputs(self._image(images)))

    def _is_empty(self) -> bool:
        return any(parameter.is_meta for parameter in self.module.parameters())

    def _expect_weights(self) -> None:
        if self._is_empty():
            raise DataError(
                f"This {type(self.module).__name__} is on the device `meta`: it has shapes but no weights",
                expected="a model with weights",
                hint="model.to_empty(device='cpu'), then model.load_state_dict(...).",
            )

    def _image(self, images: Tensor | None) -> Tensor:
        if images is not None:
            return images[:1]
        return torch.full((1, 3, *(self.input_shape or (64, 64))), 0.5)

    @property
    def input_shape(self) -> tuple[int, int] | None:
        """Height and width in px of the model's input, if the preprocessing fixes them."""
        return getattr(self.preprocess, "shape", None)

    def expand(self, layers: Sequence[str | nn.Module]) -> list[str]:
        """Return addresses of modules, names and globs; a glob matches layers that fire.

        Raises:
            LayerError: no such layer, or a glob that matches nothing.
        """
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
        """Return the model's output f(x), (B, C), or the layer that is named ``output``."""
        if "output" in self.named:
            return self.represent(images, ["output"])["output"]
        return self._as_decision(self.forward(images), images)

    def __call__(self, images: Tensor) -> Tensor:
        """Return f(x) as :meth:`decide` does, with gradients to the images while torch records any.

        An interpretee is therefore a forward function for captum: ``IntegratedGradients(interpretee)``, and for its
        layer methods with :meth:`module_at`: ``LayerGradCam(interpretee, interpretee.module_at("features.11"))``.
        Methods that hook all modules (DeepLift, GuidedBackprop, LRP) take :meth:`as_module`.

        Example:
            >>> import torch
            >>> from torch import nn
            >>> interpretee = ModuleInterpretee(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)))
            >>> images = torch.rand(2, 3, 2, 2, requires_grad=True)
            >>> interpretee(images)[:, 0].sum().backward()
            >>> images.grad.shape
            torch.Size([2, 3, 2, 2])
        """
        if not torch.is_grad_enabled():
            return self.decide(images)
        if "output" in self.named:
            return self.features(images, ["output"])["output"]
        return self._as_decision(self._run(images, gradients=True), images)

    def _as_decision(self, output: Any, images: Tensor) -> Tensor:
        """Return f(x), (B, C), of the model's output; a subclass overrides it for outputs of another kind."""
        return pick(output, Address("output", OUTPUT, 0, ())).float().to(images.device)

    def forward(self, images: Tensor) -> Any:
        """Return the model's own output for images (B, 3, H, W) in [0, 1], of whatever type."""
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
        """Return the module whose output is the layer, for libraries that hook modules (captum's layer methods).

        Args:
            layer: an address, or another name such as the paper's ``conv5``.
            images: images to run the model on, to check that the module is called once; as in :meth:`layers`.

        Raises:
            LayerError: an unknown address, or a layer that is not the whole output of one module: ``input``,
                ``output``, a part (tokens), one of several calls, a layer that never fires, or one that a function is
                applied to.
        """
        applied = layer in self.named and self.named[layer].then is not None
        return hookable(self._parse(layer), self._modules, lambda: self.forward(self._image(images)), applied=applied)

    def as_module(self) -> ScoreModule:
        """Return the interpretee as an `nn.Module` of images in [0, 1]: ``DeepLift(interpretee.as_module())``."""
        return ScoreModule(self.module, self)

    def around(self, model: nn.Module) -> Self:
        """Return the interpretee of another model of the same architecture, for instance with other weights."""
        other = copy(self)  # keeps the class and its attributes
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
        """Return a hash of weights, buffers, structure, plain attributes, preprocessing, tokens and named layers.

        The code of the modules is not hashed: bytecode differs between versions of Python, and a saved explanation must
        recognise its model under the next version.
        """
        named = {name: [layer.address, *_plain("then", layer.then)] for name, layer in self.named.items()}
        texts = [_lasting(thing) for thing in (self.module, self.preprocess, self.tokens)]
        ramp = torch.linspace(0, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
        state = self.preprocess.state_dict() if isinstance(self.preprocess, nn.Module) else {}
        try:
            prepared = self.preprocess(ramp.to(next(iter(state.values()), ramp).device)).cpu()
        except Exception:  # it may take other sizes only; then its repr has to suffice
            prepared = ramp
        return content_hash(self.module.state_dict(), texts, named, prepared, _plain_attributes(self.module))


def _no_function_of_a_batch(got: str) -> DataError:
    return DataError(
        "The preprocessing does not take these images",
        expected="a function of a float batch (B, 3, H, W) in [0, 1], which returns such a tensor",
        got=got,
        hint="Leave ToTensor out: images are tensors already.",
    )


#: attributes that do not affect what a module computes: the mode, timm's source of weights, transformers' devices
_NOTES = {"training", "pretrained_cfg", "default_cfg", "hf_device_map"}


def _plain_attributes(module: nn.Module) -> list[str]:
    """Return the plain attributes of all modules as text: they are in no state dict and rarely in a module's repr.

    Lists and sizes are left out: they mostly describe the last run (torchvision's detectors collect the scales of their
    maps). Notes of libraries on the origin and device of weights are left out too.
    """
    return [
        line
        for name, part in module.named_modules()
        for key, value in sorted(vars(part).items())
        if not key.startswith("_") and key not in _NOTES and not isinstance(value, (NoneType, list, torch.Size))
        for line in _plain(f"{name}.{key}", value)
    ]


def _plain(name: str, value: Any) -> Iterator[str]:
    """Yield the numbers, strings and functions in a nested value as text; other objects are left out."""
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
        package = module if "." in module else ""  # the module name of a script depends on how it is run
        yield f"{name}={package}:{own}"


def _lasting(thing: Any) -> str:
    """Return the repr of an object without memory addresses, which is the same in every process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(thing))


def _shape(output: Any) -> tuple[int, ...] | None:
    return tuple(output.shape[1:]) if isinstance(output, Tensor) else None

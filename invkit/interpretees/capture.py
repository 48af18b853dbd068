"""Forward hooks that copy the outputs of layers and are removed afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from invkit.errors import LayerError
from invkit.interpretees.addresses import INPUT, OUTPUT, Address, pick, unknown_layer
from invkit.interpretees.tokens import TOKEN_PARTS, TokenLayout
from invkit.interpretees.wrapped import eager
from invkit.utils.autograd import frozen

__all__ = ["capture", "untouched"]


class _AllCapturedError(Exception):
    """Raised inside the forward pass once every address has fired, and caught in this file."""


@contextmanager
def untouched(model: nn.Module, *, gradients: bool = False) -> Iterator[None]:
    """Run a model in evaluation mode; modes of all modules and the random state are restored afterwards.

    Args:
        model: the model.
        gradients: record gradients to its input. None reach its parameters.
    """
    modes = [(module, module.training) for module in model.modules()]
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    try:
        model.eval()
        with eager(model), torch.random.fork_rng(devices), frozen(model), torch.set_grad_enabled(gradients):
            yield
    finally:
        for module, training in modes:
            module.training = training


def capture(
    model: nn.Module,
    modules: Mapping[str, nn.Module],
    addresses: Sequence[Address],
    inputs: Tensor,
    tokens: TokenLayout | None = None,
) -> dict[str, Tensor]:
    """Run a model until every address has fired; return a copy of each output by the text of its address.

    Outputs are cloned, since a later in-place operation (ReLU) would change them.

    Args:
        model: the model.
        modules: its modules by name.
        addresses: layers to capture.
        inputs: (B, C, H, W), preprocessed.
        tokens: layout of the model's tokens, if it has any.

    Raises:
        LayerError: an address never fires, or its output is not a floating-point tensor.
    """
    found: dict[str, Tensor] = {a.text: pick(inputs, a).clone() for a in addresses if a.module == INPUT}
    wanted = [a for a in addresses if a.module not in (INPUT, OUTPUT)]
    to_the_end = any(a.module == OUTPUT for a in addresses)
    calls: dict[str, int] = {}

    def hook_for(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            call = calls[name] = calls.get(name, -1) + 1
            for address in wanted:
                if address.module == name and address.call == call:
                    found[address.text] = _picked(output, address, modules, tokens).clone()
            if not to_the_end and all(a.text in found for a in wanted):
                raise _AllCapturedError

        return hook

    handles = []
    try:
        for name in {a.module for a in wanted}:
            handles.append(modules[name].register_forward_hook(hook_for(name), always_call=False))
        if wanted or to_the_end:
            output = model(inputs)
            found |= {a.text: pick(output, a, tokens).clone() for a in addresses if a.module == OUTPUT}
    except _AllCapturedError:
        pass
    finally:
        for handle in handles:
            handle.remove()
    for address in addresses:
        if address.text not in found:
            raise LayerError(
                f"The layer '{address.text}' never fires",
                expected=f"call {address.call} of '{address.module}' in a forward pass",
                got=f"{calls.get(address.module, -1) + 1} calls",
                hint="`invkit layers MODEL` lists the layers that do.",
            )
    return found


def _picked(output: Any, address: Address, modules: Mapping[str, nn.Module], tokens: TokenLayout | None) -> Tensor:
    """Call :func:`pick`; an unknown part of a tensor is reported as an unknown layer: it is a misspelt submodule."""
    try:
        return pick(output, address, tokens)
    except LayerError as error:
        if not (address.path and isinstance(output, Tensor)) or address.path[0] in TOKEN_PARTS:
            raise
        parts = [f"{address.module}.{part}" for part in TOKEN_PARTS if tokens]
        raise unknown_layer(address.text, [*parts, *modules]) from error

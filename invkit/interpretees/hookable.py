"""The module at a layer address, for libraries that register hooks themselves (captum's layer methods)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from invkit.errors import LayerError
from invkit.interpretees.addresses import Address

__all__ = ["hookable"]


def hookable(
    address: Address, modules: Mapping[str, nn.Module], run: Callable[[], object], *, applied: bool
) -> nn.Module:
    """Return the module whose whole output is the layer.

    A module that is called twice is refused: a library that hooks it would see both calls and keep the last.

    Args:
        address: address of the layer.
        modules: modules of the model by name.
        run: function that runs the model once.
        applied: whether a function is applied to the module's output.

    Raises:
        LayerError: there is no such module.
    """
    module = modules.get(address.module)
    if module is None:
        got = f"the model's {address.module.strip('<>')}"
    elif address.path or applied:
        got = f"{'a part' if address.path else 'a function'} of the output of '{address.module}'"
    else:
        calls = _calls(module, run)
        if calls == 1 and address.call == 0:
            return module
        got = f"call {address.call} of '{address.module}', which is called {calls} times in a forward pass"
    raise LayerError(
        f"The layer '{address.text}' is not the output of one module",
        expected="a module that is called once, and its output as a whole",
        got=got,
        hint="`features` returns it with gradients to the images."
        if module is None
        else f"`interpretee.module.get_submodule('{address.module}')` is the module itself.",
    )


def _calls(module: nn.Module, run: Callable[[], object]) -> int:
    """Return how often a module is called in one forward pass."""
    outputs: list[None] = []
    handle = module.register_forward_hook(lambda *_: outputs.append(None))
    try:
        run()
    finally:
        handle.remove()
    return len(outputs)

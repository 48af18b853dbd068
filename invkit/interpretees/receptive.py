"""Measured receptive fields: a NaN in a pixel reaches every unit that depends on it, through any operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from invkit.interpretees.capture import untouched

__all__ = ["receptive_fields"]

_WINDOW = 65  # columns that are tried; a stride is found if two of it fit in
_TOGETHER = 8  # columns in one batch
_ALL, _UNKNOWN = "all", "unknown"
_Reached = tuple[int, int] | str  # the first and last unit that a column reaches


class _DeepestReachedError(Exception):
    """Raised inside the forward pass after the deepest layer of interest, and caught in this file."""


def receptive_fields(model: nn.Module, modules: Mapping[str, nn.Module], inputs: Tensor) -> dict[str, int | None]:
    """Measure the side of the square of pixels that a unit in the middle of each layer depends on.

    A column of NaN in the input reaches some units of a layer. When the column moves by one stride, these units move by
    one; over one stride, the numbers of units reached sum to the number of columns that one unit depends on.

    Args:
        model: the model.
        modules: modules whose first output is measured, by name.
        inputs: (1, C, H, W), preprocessed.

    Returns:
        for each module that fires its receptive field in px of the input: the width W if every unit depends on all
        columns; None if it is unknown (the units reached touch the border, the output is not a tensor of maps or
        vectors, or the strides are irregular). Empty for a model that raises for NaN.
    """
    width = inputs.shape[-1]
    window = min(_WINDOW, width // 2)
    columns = range((width - window) // 2, (width - window) // 2 + window)
    try:
        ends = _reached(model, modules, inputs, [columns[0], columns[-1]])
        bands = {name: modules[name] for name, two in ends.items() if all(isinstance(each, tuple) for each in two)}
        sides = _sides(model, bands, inputs, columns)
    except Exception:  # the model raises for NaN, or for more than one image
        return {}
    return {name: sides.get(name, width if two == [_ALL, _ALL] else None) for name, two in ends.items()}


def _sides(
    model: nn.Module, modules: Mapping[str, nn.Module], inputs: Tensor, columns: Sequence[int]
) -> dict[str, int | None]:
    """Move the column until each module's number of columns per unit is known."""
    reached: dict[str, list[_Reached]] = {name: [] for name in modules}
    sides: dict[str, int | None] = dict.fromkeys(modules)
    for k in range(0, len(columns), _TOGETHER):
        left = {name: module for name, module in modules.items() if sides[name] is None}
        if not left:
            break
        for name, more in _reached(model, left, inputs, columns[k : k + _TOGETHER]).items():
            reached[name] += more
            sides[name] = _side(reached[name])
    return sides


def _side(reached: Sequence[_Reached]) -> int | None:
    """Return the number of columns that one unit depends on, from the units that consecutive columns reach."""
    bands = [each for each in reached if isinstance(each, tuple)]
    moves = [k for k, (before, after) in enumerate(pairwise(bands)) if before[1] != after[1]]
    strides = {after - before for before, after in pairwise(moves)}
    steps = {bands[k + 1][1] - bands[k][1] for k in moves}
    if len(bands) < len(reached) or len(strides) != 1 or len(steps) != 1:
        return None
    return sum(last - first + 1 for first, last in bands[: strides.pop()]) // steps.pop()


def _reached(
    model: nn.Module, modules: Mapping[str, nn.Module], inputs: Tensor, columns: Sequence[int]
) -> dict[str, list[_Reached]]:
    """Return for each module that fires the units that a NaN in each of the columns reaches."""
    marked = inputs.repeat(len(columns), 1, 1, 1)
    for row, column in enumerate(columns):
        marked[row, :, :, column] = torch.nan
    found: dict[str, list[_Reached]] = {}

    def hook_for(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if name not in found:
                found[name] = [_band(output, row, len(columns)) for row in range(len(columns))]
            if len(found) == len(modules):
                raise _DeepestReachedError

        return hook

    with ExitStack() as stack:
        # Winograd's and Fourier's transforms would spread a NaN to neighbours that do not depend on it.
        stack.enter_context(torch.backends.nnpack.flags(enabled=False))
        backends: list[Any] = [torch.backends.mkldnn, torch.backends.cudnn]
        for backend in backends:
            stack.callback(setattr, backend, "enabled", backend.enabled)
            backend.enabled = False
        for name, module in modules.items():
            stack.callback(module.register_forward_hook(hook_for(name)).remove)
        stack.enter_context(untouched(model))
        with suppress(_DeepestReachedError):
            model(marked)
    return found


def _band(output: Any, row: int, rows: int) -> _Reached:
    """Return the first and last NaN unit along the only axis along which NaN varies."""
    if not isinstance(output, Tensor) or not output.is_floating_point() or output.ndim < 2 or len(output) != rows:
        return _UNKNOWN
    nan = output[row].isnan()
    if bool(nan.all()):
        return _ALL
    lines = [nan.movedim(axis, 0).reshape(length, -1) for axis, length in enumerate(nan.shape)]
    varying = [line for line in lines if not bool((line == line[:1]).all())]
    if len(varying) != 1:
        return _UNKNOWN
    units = varying[0][:, 0].nonzero().flatten().tolist()
    contiguous = units[-1] - units[0] + 1 == len(units)
    inside = units[0] > 0 and units[-1] < len(varying[0]) - 1
    return (units[0], units[-1]) if contiguous and inside else _UNKNOWN

"""Receptive fields by measurement: a NaN in a pixel reaches every unit that reads it, whatever the operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from invkit.interpretees.capture import untouched

__all__ = ["receptive_fields"]

_WINDOW = 65  # columns tried; a stride shows where two of them fit in
_TOGETHER = 8  # of them in one batch
_ALL, _UNKNOWN = "all", "unknown"
_Reached = tuple[int, int] | str  # the first and last unit that a column reaches


class _DeepestReachedError(Exception):
    """Raised inside the forward pass after the deepest layer of interest; never leaves this file."""


def receptive_fields(model: nn.Module, modules: Mapping[str, nn.Module], inputs: Tensor) -> dict[str, int | None]:
    """Measure the side of the square of pixels that one unit in the middle of each layer reads, in px of the input.

    A column of NaN reaches some units of a layer. As it moves on by one stride, they move on by one unit; over
    one stride, the numbers of units reached sum to the number of columns that one unit reads.

    Args:
        model: is run on the inputs.
        modules: those whose first output is measured.
        inputs: (1, 3, H, W), as the model takes them.

    Returns:
        for each module that fires: px; the width W if every unit reads from border to border; None where that cannot
        be known (the units reached touch the border, the output is no tensor of maps or vectors, or the strides are
        irregular). Nothing for a model that refuses NaN.
    """
    width = inputs.shape[-1]
    window = min(_WINDOW, width // 2)
    columns = range((width - window) // 2, (width - window) // 2 + window)
    try:
        ends = _reached(model, modules, inputs, [columns[0], columns[-1]])
        bands = {name: modules[name] for name, two in ends.items() if all(isinstance(each, tuple) for each in two)}
        sides = _sides(model, bands, inputs, columns)
    except Exception:  # a model that refuses NaN, or more than one image
        return {}
    return {name: sides.get(name, width if two == [_ALL, _ALL] else None) for name, two in ends.items()}


def _sides(
    model: nn.Module, modules: Mapping[str, nn.Module], inputs: Tensor, columns: Sequence[int]
) -> dict[str, int | None]:
    """Move the column on until it is known for each module how many of them one unit reads."""
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
    """Return the number of columns that one unit reads, from the units that each of a run of columns reaches."""
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
    """Return for each module that fires the units which a NaN in each of the columns reaches."""
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
        # Winograd's and Fourier's transforms would carry a NaN to neighbours that do not read it.
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
    """Return the run of units along the one axis on which NaN or not depends."""
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

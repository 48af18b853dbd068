"""Conversion of an ONNX file to a torch module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import onnx2torch
import torch
from torch import nn

from invkit.errors import ArtefactError

__all__ = ["convert"]

_ANY = 64  # px of the trial image if height and width are free


def convert(file: str | Path) -> tuple[nn.Module, tuple[int, int] | None]:
    """Convert a file; see :func:`invkit_onnx.convert`."""
    path = Path(file)
    if not path.is_file():
        raise ArtefactError(f"No ONNX network at {path}", expected="the path of an .onnx file", got="no such file")
    try:
        network = onnx.load(path)
        onnx.checker.check_model(network)
    except Exception as error:  # protobuf's, onnx's and the system's have no common class
        raise ArtefactError(f"{path} is no ONNX network", got=_in_short(error)) from error
    size = _size(network, path)
    try:
        module = onnx2torch.convert(_without_aliases(network)).eval()
    except Exception as error:  # NotImplementedError for an operation, many others for its arguments
        raise ArtefactError(
            f"onnx2torch cannot convert {path}",
            got=_in_short(error),
            hint="Export it with an older opset, or give invkit the torch module itself.",
        ) from error
    problem: Exception | None
    try:
        with torch.inference_mode():
            output = module(torch.full((2, 3, *(size or (_ANY, _ANY))), 0.5))
        rows = len(output[0] if isinstance(output, (tuple, list)) else output)
        problem = None if rows == 2 else ValueError(f"{rows} rows of output")
    except Exception as error:
        problem = error
    if problem is not None:
        raise ArtefactError(
            f"The network in {path} does not take two images at once",
            expected="a batch axis of any length",
            got=_in_short(problem),
            hint="Export it with a dynamic batch axis (dynamic_axes or dynamic_shapes of torch.onnx.export).",
        ) from problem
    return module, size


def _without_aliases(network: Any) -> Any:
    """Copy weights that are an `Identity` of others: torch exports equal weights once, which onnx2torch cannot read."""
    weights = {weight.name: weight for weight in network.graph.initializer}
    for node in [n for n in network.graph.node if n.op_type == "Identity" and n.input[0] in weights]:
        copy = network.graph.initializer.add()
        copy.CopyFrom(weights[node.input[0]])
        copy.name = node.output[0]
        network.graph.node.remove(node)
    return network


def _size(network: Any, path: Path) -> tuple[int, int] | None:
    """Return height and width of the one input that is not a weight; None if they are free."""
    weights = {weight.name for weight in network.graph.initializer}
    inputs = [each for each in network.graph.input if each.name not in weights]
    shapes = [[axis.dim_value for axis in each.type.tensor_type.shape.dim] for each in inputs]  # 0: free
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] not in (0, 3):
        raise ArtefactError(
            f"The network in {path} does not take images",
            expected="one input (B, 3, H, W)",
            got=", ".join(f"{each.name} {tuple(shape)}" for each, shape in zip(inputs, shapes, strict=True)),
        )
    height, width = shapes[0][2:]
    return (height, width) if height and width else None


def _in_short(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:300] if text else ''}"

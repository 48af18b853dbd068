"""Networks in ONNX files, ``onnx:path/to/network.onnx``, turned into torch modules by onnx2torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invkit.errors import ArtefactError
from invkit.plugins import hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

__all__ = ["convert", "load_model"]

INVKIT_API = 1


@hookimpl
def load_model(name: str, weights: str | None) -> Any:
    """Return the network in a file.

    Warns:
        InvkitWarning: an ONNX file does not say how images are normalised; it is given them in [0, 1], at the size that
            it states, unless :func:`invkit.explain` is given a `preprocess`.

    Args:
        name: path of an .onnx file.
        weights: None; they are in the file.

    Raises:
        ArtefactError: as of :func:`convert`, or other weights are asked for.
    """
    if not name.endswith(".onnx"):
        return None
    if weights is not None:
        raise ArtefactError("The weights of an ONNX network are in its file", expected="no `weights`", got=weights)
    from invkit.interpretees import ModuleInterpretee, Preprocess, warn_of_unknown_preprocessing

    module, size = convert(name)
    warn_of_unknown_preprocessing(name)
    return ModuleInterpretee(module, Preprocess(size))


def convert(file: str | Path) -> tuple[nn.Module, tuple[int, int] | None]:
    """Return the network in an ONNX file as a torch module in evaluation mode.

    Its modules are the file's nodes, under their names with slashes for dots.

    Returns:
        the module, and height and width of its input; None where these are free.

    Raises:
        ArtefactError: no such file, no ONNX, an operation that onnx2torch does not have, an input other than images
            (B, 3, H, W), or one that takes no batches.
    """
    from invkit_onnx.conversion import convert

    return convert(file)

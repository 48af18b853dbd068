"""Networks in ONNX files, ``onnx:path/to/network.onnx``, converted to torch modules by onnx2torch."""

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
    """Load the network in a file; None for a name that does not end with .onnx.

    Warns:
        InvkitWarning: an ONNX file does not contain how images are normalised. Without the `preprocess` of
            :func:`invkit.explain` the network gets images in [0, 1] at the size that the file states.

    Args:
        name: path of an .onnx file.
        weights: must be None; the weights are in the file.

    Raises:
        ArtefactError: as of :func:`convert`, or `weights` is not None.
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

    Its modules are the file's nodes, by their names with slashes instead of dots.

    Returns:
        the module, and height and width of its input; None if these are free.

    Raises:
        ArtefactError: no such file, not an ONNX file, an operation that onnx2torch does not have, an input that is not
            images (B, 3, H, W), or a fixed batch size.
    """
    from invkit_onnx.conversion import convert

    return convert(file)

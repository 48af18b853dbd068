"""The number of channels that a network takes, and clear errors for inputs that it does not take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from invkit.errors import DataError

__all__ = ["expect_input", "input_channels"]

#: messages of torch for a wrong number of channels, in a convolution and in a linear layer
_CONVOLUTION = re.compile(r"to have (\d+) channels, but got (\d+) channels")
_LINEAR = re.compile(r"shapes cannot be multiplied \(\d+x(\d+) and (\d+)x\d+\)")

#: errors of Python code for inputs that it does not expect
_OWN = (AssertionError, AttributeError, LookupError, TypeError, ValueError)


def input_channels(model: nn.Module) -> int | None:
    """Return the number of channels that the first convolution of a model takes; None without a convolution."""
    return next((module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d)), None)


@contextmanager
def expect_input(model: nn.Module, inputs: Tensor) -> Iterator[None]:
    """Raise a clear error for a model that does not take its inputs.

    Torch's errors other than a wrong number of channels stay as they are: batches are halved where memory runs out.

    Args:
        model: the model that runs inside the block.
        inputs: its inputs (B, C, H, W), preprocessed.

    Raises:
        DataError: the first layer takes another number of channels, or the model takes something other than a batch.
    """
    try:
        yield
    except RuntimeError as error:
        wanted = _wanted(str(error), inputs)
        if wanted is None:
            raise
        raise DataError(
            f"This {type(model).__name__} takes images of {wanted} channel{'s' if wanted > 1 else ''}",
            expected=f"a preprocessing that makes its input, (B, {wanted}, H, W), from images (B, 3, H, W) in [0, 1]",
            got=f"one that makes {tuple(inputs.shape)}",
            hint=_hint(wanted),
        ) from error
    except _OWN as error:
        raise DataError(
            f"This {type(model).__name__} cannot run on these images",
            expected=f"a model of one batch, here of shape {tuple(inputs.shape)}",
            got=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
            hint="Set the size with `invkit.Preprocess(size=...)`; wrap a model of a dict or of several tensors in an "
            "nn.Module whose `forward` takes images.",
        ) from error


def _wanted(message: str, inputs: Tensor) -> int | None:
    """Return the number of channels that the first layer expects, from torch's message; None for other errors."""
    if inputs.ndim != 4:
        return None
    _, channels, height, width = inputs.shape
    convolution, linear = _CONVOLUTION.search(message), _LINEAR.search(message)
    if convolution and int(convolution[2]) == channels:
        return int(convolution[1])
    if (
        linear
        and int(linear[1]) == channels * height * width
        and int(linear[2]) in (height * width, 3 * height * width)
    ):
        return int(linear[2]) // (height * width)
    return None


def _hint(wanted: int) -> str:
    if wanted not in (1, 3):
        return "Pass such a function as `preprocess`."
    example = "mean=(0.5,), std=(0.5,)" if wanted == 1 else "mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)"
    return (
        f"Pass preprocess=invkit.Preprocess(channels={wanted}), with the mean and std of its training if it had any, "
        f"such as invkit.Preprocess({example}); on the command line `--channels {wanted}`, `--mean` and `--std`."
    )

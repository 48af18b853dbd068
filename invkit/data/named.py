"""Data sets that have a name: ColorDigits, which is built in, and those that torchvision reads from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from invkit.data.digits import color_digits
from invkit.errors import DataError

__all__ = ["named_data"]

_TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}


def named_data(text: str) -> Any:
    """Give the data set called ``color-digits``, ``mnist:ROOT`` or ``fashion-mnist:ROOT``; None for any other text.

    ROOT is torchvision's: the files lie in ROOT/MNIST/raw or ROOT/FashionMNIST/raw.

    Raises:
        DataError: the files are not there.
    """
    name, _, root = text.partition(":")
    if text == "color-digits":
        return color_digits()
    if name not in _TORCHVISION or not root:
        return None
    import torchvision

    kind = _TORCHVISION[name]
    try:
        return getattr(torchvision.datasets, kind)(root, train=True, download=False)
    except RuntimeError as error:
        raise DataError(
            f"{kind} is not there",
            expected=f"its idx files in {Path(root) / kind / 'raw'}",
            hint=f"`torchvision.datasets.{kind}({root!r}, download=True)` fetches them.",
        ) from error

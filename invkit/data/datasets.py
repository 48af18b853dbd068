"""Images of a data set or a loader."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Subset

from invkit.data.image_files import square, to_rgb
from invkit.data.imageset import to_uint8
from invkit.data.retry import read_each, read_stream
from invkit.data.storage import StoredImages, concatenate_images, from_numpy
from invkit.data.transforms import default_size, resize_and_crop, to_nchw, validated
from invkit.utils.progress import Progress

__all__ = ["class_names", "read_items"]


def read_items(data: Any, size: int | None) -> tuple[Tensor | StoredImages, dict[str, Any], Tensor | None, int]:
    """Read a data set item by item, or a loader batch by batch, as uint8 at one size.

    Args:
        data: of images, or tuples (image, label, …).
        size: side of the images; None for the first image's, clamped to what the built-in autoencoder takes.

    Returns:
        the pixels (N, 3, S, S); the labels as `class`, if all are strings or numbers; the indices of the images that
        could be read, or None if all of them could; and the number of items or batches, 0 if unknown.

    Raises:
        DataError: not images, or too many that cannot be read.
    """
    labels: list[Any] = []
    kept: list[int] = []
    loader = isinstance(data, DataLoader)
    total = _length(data)
    found: Iterable[tuple[int, tuple[Tensor, Any]]]
    if not isinstance(data, (DataLoader, IterableDataset)) and total and hasattr(data, "__getitem__"):
        found = read_each(lambda number: _item(data[number], size), total)
    else:
        found = _read_in_order(data, size, total)

    def images() -> Iterator[Tensor]:
        side = size
        for number, (batch, label) in found:
            pixels = validated(to_nchw(batch.detach().cpu()).contiguous(), number)
            side = side or default_size(min(pixels.shape[-2:]))
            labels.extend(_of_each(label, len(batch)) if loader else [label])
            kept.append(number)
            pixels = resize_and_crop(pixels, side)
            yield pixels if pixels.dtype == torch.uint8 else to_uint8(pixels)

    pixels = concatenate_images(images(), 0 if loader else total)
    values = [_as_scalar(label) for label in labels]
    classes = {} if any(value is None for value in values) else {"class": np.asarray(values)}
    some = len(kept) < total and not loader
    return pixels, classes, torch.tensor(kept) if some else None, total


def class_names(data: Any) -> tuple[str, ...]:
    """Return a data set's names of its classes, by number; empty if unknown, or if the labels are transformed."""
    while isinstance(data, (DataLoader, Subset)):
        data = data.dataset
    names = getattr(data, "classes", ())
    if not isinstance(names, (list, tuple)) or getattr(data, "target_transform", None) is not None:
        return ()
    known = tuple(name for name in names if isinstance(name, str))
    return known if len(set(known)) == len(names) else ()


def _length(data: Any) -> int:
    """Return the number of items or batches, 0 if unknown."""
    try:
        return len(data)
    except (TypeError, NotImplementedError):  # for instance a loader of an iterable data set
        return 0


def _of_each(labels: Any, count: int) -> list[Any]:
    """Return the labels of a batch, one for each image; None for each if they have another form, such as boxes."""
    rows = labels.ndim > 0 if isinstance(labels, (Tensor, np.ndarray)) else isinstance(labels, (list, tuple))
    return [*labels] if rows and len(labels) == count else [None] * count


def _as_scalar(label: Any) -> float | str | None:
    """Return a label that is one number or string; None for any other."""
    if isinstance(label, str):
        return label
    try:
        value = torch.as_tensor(label)
    except (TypeError, ValueError, RuntimeError):
        return None
    return value.item() if value.numel() == 1 else None  # some data sets give arrays of one


def _read_in_order(data: Any, size: int | None, total: int) -> Iterator[tuple[int, tuple[Tensor, Any]]]:
    """Read an iterable data set or a loader; yield each image or batch with the number of its first image."""
    number, loader = 0, isinstance(data, DataLoader)
    bar = Progress("reading images", total)
    read = _batch if loader else partial(_item, size=size)
    for batch, label in read_stream(data, read, kind="Batch" if loader else "Item"):
        yield number, (batch, label)
        number += len(batch)
        bar.advance()
    bar.close()


def _image_and_label(item: Any) -> tuple[Any, Any]:
    """Return the image and label, if any, of an item of a data set or loader."""
    image, *rest = item if isinstance(item, (tuple, list)) else (item,)
    return image, rest[0] if rest else None


def _batch(item: Any) -> tuple[Tensor, Any]:
    """Return the images and labels of a batch."""
    images, labels = _image_and_label(item)
    return _as_tensor(images), labels


def _item(item: Any, size: int | None) -> tuple[Tensor, Any]:
    """Return the image of an item, (1, C, H, W) or (1, H, W, C), and its label."""
    image, label = _image_and_label(item)
    return _as_image(image, size).unsqueeze(0), label


def _as_image(image: Any, size: int | None) -> Tensor:
    """Convert an image to a tensor (C, H, W) or (H, W, C)."""
    if isinstance(image, Image.Image):
        side = size or default_size(min(image.size))
        return torch.from_numpy(np.asarray(square(to_rgb(image), side)).copy()).movedim(-1, 0)
    tensor = _as_tensor(image)
    return tensor.unsqueeze(0) if tensor.ndim == 2 else tensor


def _as_tensor(images: Any) -> Tensor:
    return from_numpy(images) if isinstance(images, np.ndarray) else torch.as_tensor(images)

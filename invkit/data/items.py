"""Images of a data set or a loader, read one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Subset

from invkit.data.files import square, to_rgb
from invkit.data.imageset import to_uint8
from invkit.data.reading import read_each, read_on
from invkit.data.shaping import as_maps, checked, resize_and_crop, usual_side
from invkit.data.storage import StoredImages, concatenate_images, from_numpy
from invkit.utils.progress import Progress

__all__ = ["class_names", "read_items"]


def read_items(data: Any, size: int | None) -> tuple[Tensor | StoredImages, dict[str, Any], Tensor | None, int]:
    """Read a data set item by item, or a loader batch by batch, as bytes at one size.

    Args:
        data: gives images, or (image, label, …).
        size: side of the images; None for the first one's own, within what the built-in autoencoder takes.

    Returns:
        the pixels (N, 3, S, S); labels, where all are words or numbers, as `class`; of a data set of which some images
        could not be read the numbers of the others, else None; and how many items or batches there were to be.

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
        found = _in_turn(data, size, total)

    def images() -> Iterator[Tensor]:
        side = size
        for number, (batch, label) in found:
            pixels = checked(as_maps(batch.detach().cpu()).contiguous(), number)
            side = side or usual_side(min(pixels.shape[-2:]))
            labels.extend(_of_each(label, len(batch)) if loader else [label])
            kept.append(number)
            pixels = resize_and_crop(pixels, side)
            yield pixels if pixels.dtype == torch.uint8 else to_uint8(pixels)

    pixels = concatenate_images(images(), 0 if loader else total)
    values = [_plain(label) for label in labels]
    classes = {} if any(value is None for value in values) else {"class": np.asarray(values)}
    some = len(kept) < total and not loader
    return pixels, classes, torch.tensor(kept) if some else None, total


def class_names(data: Any) -> tuple[str, ...]:
    """Return what a data set calls its classes, by number; nothing where it does not say, or changes its labels."""
    while isinstance(data, (DataLoader, Subset)):
        data = data.dataset
    names = getattr(data, "classes", ())
    if not isinstance(names, (list, tuple)) or getattr(data, "target_transform", None) is not None:
        return ()
    known = tuple(name for name in names if isinstance(name, str))
    return known if len(set(known)) == len(names) else ()


def _length(data: Any) -> int:
    """Return how many items or batches there are, 0 where that is not known."""
    try:
        return len(data)
    except (TypeError, NotImplementedError):  # of a loader of what has no length, for instance
        return 0


def _of_each(labels: Any, count: int) -> list[Any]:
    """Return the labels of a batch, one for each image; None for each where they are of another form, such as boxes."""
    rows = labels.ndim > 0 if isinstance(labels, (Tensor, np.ndarray)) else isinstance(labels, (list, tuple))
    return [*labels] if rows and len(labels) == count else [None] * count


def _plain(label: Any) -> float | str | None:
    """Return a label that is one number or one word; None for any other."""
    if isinstance(label, str):
        return label
    try:
        value = torch.as_tensor(label)
    except (TypeError, ValueError, RuntimeError):
        return None
    return value.item() if value.numel() == 1 else None  # some data sets give arrays of one


def _in_turn(data: Any, size: int | None, total: int) -> Iterator[tuple[int, tuple[Tensor, Any]]]:
    """Read an iterable data set, or a loader; give each image, or batch, with the number of its first image."""
    number, loader = 0, isinstance(data, DataLoader)
    bar = Progress("reading images", total)
    read = _batch if loader else partial(_item, size=size)
    for batch, label in read_on(data, read, kind="Batch" if loader else "Item"):
        yield number, (batch, label)
        number += len(batch)
        bar.advance()
    bar.close()


def _parts(item: Any) -> tuple[Any, Any]:
    """Take image and label, if there is one, out of what a data set or loader gives."""
    image, *rest = item if isinstance(item, (tuple, list)) else (item,)
    return image, rest[0] if rest else None


def _batch(item: Any) -> tuple[Tensor, Any]:
    """Return a batch's images, and its labels."""
    images, labels = _parts(item)
    return _as_tensor(images), labels


def _item(item: Any, size: int | None) -> tuple[Tensor, Any]:
    """Return an item's image, (1, C, H, W) or (1, H, W, C), and its label."""
    image, label = _parts(item)
    return _one(image, size).unsqueeze(0), label


def _one(image: Any, size: int | None) -> Tensor:
    """One item of a data set, (C, H, W) or (H, W, C)."""
    if isinstance(image, Image.Image):
        side = size or usual_side(min(image.size))
        return torch.from_numpy(np.asarray(square(to_rgb(image), side)).copy()).movedim(-1, 0)
    tensor = _as_tensor(image)
    return tensor.unsqueeze(0) if tensor.ndim == 2 else tensor


def _as_tensor(images: Any) -> Tensor:
    return from_numpy(images) if isinstance(images, np.ndarray) else torch.as_tensor(images)

"""Whatever a user has, as an :class:`ImageSet`: folders, data sets, loaders, arrays, tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, RandomSampler

from invkit.data.attributes import read_attributes
from invkit.data.concepts import Concept, as_concept
from invkit.data.files import find_images, read_files, square, to_rgb
from invkit.data.generated import Generated
from invkit.data.imageset import ImageSet, as_bytes
from invkit.data.reading import read_each, read_on, tried
from invkit.data.stored import Stored, gathered
from invkit.errors import DataError
from invkit.plugins import list_names, load_named
from invkit.progress import Progress

__all__ = ["as_image_set"]

_PART = 256  # images of an array at once


def as_image_set(
    data: Any,
    *,
    size: int | None = None,
    concepts: Mapping[str, Any] | str | Path | None = None,
    groups: Any = None,
    progress: bool = True,
) -> ImageSet:
    """Read data at one size: into memory, or into a temporary file where memory is too small.

    Args:
        data: an ImageSet; a folder (sub-folders are the concept `class`); a list of files; an array or tensor
            (N, 3, H, W) or (N, H, W, 3), uint8 or float in [0, 1]; a torch or torchvision data set or a
            DataLoader, of images or (image, label, …), whose label is the concept `class`; or the name of a
            data set that a plugin offers, for instance ``color-digits`` or, with torchvision's folder, ``mnist:ROOT``.
        size: side of the images; None for their own, at most 64.
        concepts: labels by name, in the order of the images; of a folder also a CSV file, see
            :func:`invkit.data.read_attributes`.
        groups: images of one group are never split between training and held-out.
        progress: show it.

    An image that cannot be read is tried again twice, then left out with a warning, together with its labels and group;
    of an iterable data set or a loader that cannot be done.

    Raises:
        DataError: not images, not finite, out of range, none, too many that cannot be read, or labels that don't fit.
    """
    if isinstance(data, str) and _is_name(data):
        data = load_named("dataset", data, object)
    _check_labels_beside(data, concepts, groups)
    found = _read(data, size, progress)
    if len(found.pixels) == 0:
        raise DataError("There are no images", expected="at least one")
    if isinstance(concepts, (str, Path)):
        concepts = read_attributes(Path(concepts), Path(data), found.files)
    given = {name: _chosen(f"The concept '{name}'", labels, found) for name, labels in (concepts or {}).items()}
    read = {name: as_concept(name, labels) for name, labels in {**found.labels, **given}.items()}
    groups = found.groups if groups is None else _numbered(_chosen("`groups`", groups, found))
    if groups is not None and len(groups) != len(found.pixels):
        raise DataError("`groups` does not fit the images", expected=f"{len(found.pixels)} values", got=len(groups))
    if isinstance(found.pixels, Generated):
        made = ImageSet(found.pixels, read, groups, found.kept)
        return made.resized(size or made.size)
    images = ImageSet(found.pixels, read, groups, found.kept)
    return images.resized(size or min(64, max(28, images.size)))


def _check_labels_beside(data: Any, concepts: Any, groups: Any) -> None:
    """Refuse labels that cannot be matched with the images."""
    if isinstance(concepts, (str, Path)) and not isinstance(data, (str, Path)):
        raise DataError(
            "A table of attributes goes with a folder of images",
            expected="a folder as data, or concepts={name: labels}",
            got=type(data).__name__,
        )
    if isinstance(getattr(data, "sampler", None), RandomSampler) and (concepts or groups is not None):
        raise DataError(
            "This loader shuffles, so that labels beside it would go to other images",
            expected="a data set, or a loader with shuffle=False",
            got="a DataLoader that shuffles, with concepts or groups",
        )


@dataclass(frozen=True)
class _Found:
    """What data holds: images, labels that come with them, files; and which of how many were kept, if not all."""

    pixels: Tensor | Stored | Generated
    labels: Mapping[str, Any] = field(default_factory=dict)
    groups: Tensor | None = None
    files: Sequence[Path] = ()
    kept: Tensor | None = None
    total: int = 0


def _read(data: Any, size: int | None, progress: bool) -> _Found:
    if isinstance(data, ImageSet):
        return _Found(data.pixels, data.concepts, data.groups)
    if isinstance(data, (str, Path)) or _is_files(data):
        files, names = find_images(Path(data)) if isinstance(data, (str, Path)) else ([Path(f) for f in data], None)
        pixels, kept = read_files(files, size or _own_side(files), progress=progress)
        labels = {} if names is None else {"class": np.asarray(names)[kept.numpy()]}
        return _Found(pixels, labels, None, files, kept if len(kept) < len(files) else None, len(files))
    if isinstance(data, (np.ndarray, Tensor)):
        array = _checked(_from_array(data))
        if array.shape[-1] == array.shape[-2]:
            return _Found(array)
        return _Found(gathered((_sized(part, None) for part in array.split(_PART)), len(array)))
    if hasattr(data, "__getitem__") or hasattr(data, "__iter__"):
        return _from_items(data, size, progress)
    raise DataError(
        "Cannot read images from this",
        expected="a folder, files, an array (N, 3, H, W) or (N, H, W, 3), a data set or a DataLoader",
        got=type(data).__name__,
    )


def _numbered(groups: Any) -> Tensor:
    """Give numbers to groups of any names."""
    return torch.from_numpy(np.unique(np.asarray(groups), return_inverse=True)[1])


def _is_name(text: str) -> bool:
    """Whether a text names a data set of a plugin; a folder that is there is a folder."""
    if Path(text).exists():
        return False
    head = text.partition(":")[0]
    return any(head == prefix or head in names for prefix, names in list_names("dataset").items())


def _is_files(data: Any) -> bool:
    return isinstance(data, Sequence) and len(data) > 0 and all(isinstance(f, (str, Path)) for f in data)


def _own_side(files: Sequence[Path]) -> int:
    """The usual shorter side of the files, within what the built-in autoencoder takes."""
    sides = []
    for file in files[:20]:
        with suppress(Exception):  # those that cannot be read are told later
            sides.append(tried(lambda: _side(file)))  # noqa: B023 - called at once
    return min(64, max(28, int(np.median(sides)))) if sides else 64


def _side(file: Path) -> int:
    with Image.open(file) as image:
        return min(image.size)


def _chosen(what: str, labels: Any, found: _Found) -> Any:
    """Give the labels of the images that could be read.

    Raises:
        DataError: not as many as there are images, those that could not be read included.
    """
    if found.kept is None:
        return labels
    concept = labels if isinstance(labels, Concept) else None
    values = labels if concept is None else concept.values
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if len(array) != found.total:
        raise DataError(
            f"{what} does not fit the images",
            expected=f"{found.total} values, one for each image, also for those that could not be read",
            got=len(array),
            hint="Give the labels in the order of the images.",
        )
    return array[found.kept.numpy()] if concept is None else concept.take(found.kept)


def _from_array(array: np.ndarray[Any, Any] | Tensor) -> Tensor:
    pixels = torch.from_numpy(array) if isinstance(array, np.ndarray) else array.detach().cpu()
    if pixels.ndim == 4 and pixels.shape[1] not in (1, 3) and pixels.shape[-1] in (1, 3):
        pixels = pixels.movedim(-1, 1)
    if pixels.ndim == 3:  # grey images
        pixels = pixels.unsqueeze(1)
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
        raise DataError(
            "Not an array of images",
            expected="(N, 3, H, W) or (N, H, W, 3); one channel or (N, H, W) for grey",
            got=f"shape {tuple(pixels.shape)}",
        )
    return pixels.expand(-1, 3, -1, -1).contiguous()


def _from_items(data: Any, size: int | None, progress: bool) -> _Found:
    """Read a data set item by item, or a loader batch by batch."""
    labels: list[Any] = []
    kept: list[int] = []
    loader = isinstance(data, DataLoader)
    total = len(data) if hasattr(data, "__len__") else 0
    found: Iterable[tuple[int, tuple[Tensor, Any]]]
    if not isinstance(data, (DataLoader, IterableDataset)) and total and hasattr(data, "__getitem__"):
        found = read_each(lambda number: _item(data[number], size), total, progress=progress)
    else:
        found = _in_turn(data, size, total, progress)

    def images() -> Iterator[Tensor]:
        side = size
        for number, (batch, label) in found:
            pixels = _sized(_checked(_from_array(batch), number), side)
            side = pixels.shape[-1]
            labels.extend((list(label) if label is not None else [None] * len(batch)) if loader else [label])
            kept.append(number)
            yield pixels

    pixels = gathered(images(), 0 if loader else total)
    values = [_plain(label) for label in labels]
    classes = {} if any(value is None for value in values) else {"class": np.asarray(values)}
    some = len(kept) < total and not loader
    return _Found(pixels, classes, kept=torch.tensor(kept) if some else None, total=total)


def _plain(label: Any) -> float | str | None:
    """Give a label that is one number or one word; None for any other."""
    if isinstance(label, str):
        return label
    try:
        value = torch.as_tensor(label)
    except (TypeError, ValueError, RuntimeError):
        return None
    return value.item() if value.ndim == 0 else None


def _in_turn(data: Any, size: int | None, total: int, progress: bool) -> Iterator[tuple[int, tuple[Tensor, Any]]]:
    """Read an iterable data set, or a loader; give each image, or batch, with the number of its first image."""
    number, loader = 0, isinstance(data, DataLoader)
    bar = Progress("reading images", total, show=progress)
    read = _parts if loader else partial(_item, size=size)
    for batch, label in read_on(data, read, kind="Batch" if loader else "Item"):
        yield number, (batch, label)
        number += len(batch)
        bar.advance()
    bar.close()


def _parts(item: Any) -> tuple[Any, Any]:
    """Take image and label, if there is one, out of what a data set or loader gives."""
    image, *rest = item if isinstance(item, (tuple, list)) else (item,)
    return image, rest[0] if rest else None


def _item(item: Any, size: int | None) -> tuple[Tensor, Any]:
    """Give an item's image, (1, C, H, W), and its label."""
    image, label = _parts(item)
    return _one(image, size).unsqueeze(0), label


def _one(image: Any, size: int | None) -> Tensor:
    """One item of a data set, (C, H, W)."""
    if isinstance(image, Image.Image):
        side = size or min(64, max(28, min(image.size)))
        return torch.from_numpy(np.asarray(square(to_rgb(image), side)).copy()).movedim(-1, 0)
    tensor = torch.as_tensor(image)
    if tensor.ndim == 3 and tensor.shape[0] not in (1, 3):
        tensor = tensor.movedim(-1, 0)
    return tensor if tensor.ndim == 3 else tensor.unsqueeze(0)


def _checked(pixels: Tensor, start: int = 0) -> Tensor:
    """Refuse what is not an image in range; `start` is the number of the first."""
    if pixels.dtype == torch.uint8 or pixels.numel() == 0:
        return pixels
    if not pixels.is_floating_point():
        raise DataError("Images of an unknown range", expected="uint8, or float in [0, 1]", got=pixels.dtype)
    bad = (~pixels.isfinite().flatten(1).all(1)).nonzero().flatten()
    if len(bad):
        raise DataError(
            "Images with NaN or infinity",
            expected="finite values in [0, 1]",
            got=f"{len(bad)} such images, the first at index {start + int(bad[0])}",
            hint="Leave them out.",
        )
    low, high = float(pixels.min()), float(pixels.max())
    if low < -1e-4 or high > 1 + 1e-4:
        raise DataError(
            "Images out of range",
            expected="float in [0, 1]",
            got=f"values from {low:.3g} to {high:.3g}",
            hint="Divide by 255, or undo the normalisation: the model's own belongs in `preprocess=`.",
        )
    return pixels.clamp(0, 1)


def _sized(pixels: Tensor, size: int | None) -> Tensor:
    """Scale the shorter side and crop the centre, so that images of several sizes go together."""
    height, width = pixels.shape[-2:]
    side = size or min(height, width)
    if (height, width) == (side, side):
        return pixels
    scale = side / min(height, width)
    shape = (max(side, round(height * scale)), max(side, round(width * scale)))
    values = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
    values = F.interpolate(values, shape, mode="bilinear", antialias=True).clamp(0, 1)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    cropped = values[..., top : top + side, left : left + side]
    return as_bytes(cropped) if pixels.dtype == torch.uint8 else cropped

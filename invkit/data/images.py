"""Whatever a user has, as an :class:`ImageSet`: folders, data sets, loaders, arrays, tensors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler

from invkit.data.attributes import read_attributes
from invkit.data.concepts import Concept, as_concept, check_names
from invkit.data.files import find_images, read_files
from invkit.data.generated import Generated
from invkit.data.imageset import ImageSet
from invkit.data.items import class_names, read_items
from invkit.data.reading import tried
from invkit.data.shaping import as_maps, checked, resize_and_crop, usual_side
from invkit.data.storage import StoredImages, concatenate_images, from_numpy, max_bytes_in_memory
from invkit.errors import DataError, InvkitWarning
from invkit.plugins import list_names, load_named

__all__ = ["as_image_set"]

_PART = 256  # images of an array at once


def as_image_set(
    data: Any,
    *,
    size: int | None = None,
    concepts: Mapping[str, Any] | str | Path | None = None,
    groups: Any = None,
) -> ImageSet:
    """Read data at one size: into memory, or into a temporary file where memory is too small.

    What files, data sets and loaders give is kept as bytes, at the size that it is explained at. An array or tensor
    keeps its type; a large one is read where it lies.

    Args:
        data: an ImageSet; a folder (sub-folders are the concept `class`); a list of files; an array or tensor
            (N, 3, H, W) or (N, H, W, 3), uint8 or float in [0, 1]; a torch or torchvision data set or a
            DataLoader, of images or (image, label, …), whose label is the concept `class`, called as in the set's
            `classes`, or left out with a warning where it can be none; or the name of a data set that a plugin
            offers, for instance ``color-digits`` or, with torchvision's folder, ``mnist:ROOT``.
        size: side of the images; None for their own (of a data set or loader the first image's), at most 64.
        concepts: labels by name, in the order of the images; of a folder also a CSV file, see
            :func:`invkit.data.read_attributes`.
        groups: images of one group are never split between training and held-out.

    An image that cannot be read is tried again twice, then left out with a warning, together with its labels and group;
    of an iterable data set or a loader that cannot be done.

    Raises:
        DataError: not images, not finite, out of range, none, too many that cannot be read, or labels that don't fit.
    """
    if isinstance(data, np.ndarray) and data.dtype.kind in "UO":  # names of files, or images of several sizes
        data = data.tolist()
    if isinstance(data, str) and _is_name(data):
        data = load_named("dataset", data, object)
    _check_labels_beside(data, concepts, groups)
    found = _read(data, size)
    if len(found.pixels) == 0:
        raise DataError("There are no images", expected="at least one")
    if isinstance(concepts, (str, Path)):
        concepts = read_attributes(Path(concepts), Path(data), found.files)
    given = {name: _chosen(f"The concept '{name}'", labels, found) for name, labels in (concepts or {}).items()}
    read = _as_concepts(found, given)
    groups = found.groups if groups is None else _numbered(_chosen("`groups`", groups, found))
    images = ImageSet(found.pixels, read, groups, found.kept if found.indices is None else found.indices)
    own = images.size if isinstance(found.pixels, Generated) else usual_side(images.size)
    return images.resized(size or own)


def _check_labels_beside(data: Any, concepts: Any, groups: Any) -> None:
    """Refuse labels that cannot be matched with the images, or have a name that is taken."""
    if isinstance(concepts, (str, Path)) and not isinstance(data, (str, Path)):
        raise DataError(
            "A table of attributes goes with a folder of images",
            expected="a folder as data, or concepts={name: labels}",
            got=type(data).__name__,
        )
    if isinstance(concepts, Mapping):
        check_names(concepts)
    if isinstance(data, DataLoader) and not _in_order(data) and (concepts or groups is not None):
        raise DataError(
            "This loader shuffles or chooses, so that labels beside it would go to other images",
            expected="a data set, or a loader with shuffle=False",
            got="a DataLoader with another order than its data set's, with concepts or groups",
        )


def _in_order(loader: DataLoader[Any]) -> bool:
    """Whether a loader gives all images in the order of its data set; one without numbers has no other order."""
    if isinstance(loader.dataset, IterableDataset):
        return True
    batches = loader.batch_sampler
    if batches is None:
        return isinstance(loader.sampler, SequentialSampler)
    return type(batches) is BatchSampler and isinstance(batches.sampler, SequentialSampler)


@dataclass(frozen=True)
class _Found:
    """What data holds: images, labels that come with them, files; and which of how many were kept, if not all.

    `called` names the classes whose labels are numbers. An image set brings the places of its images in what it was
    read from as `indices`: labels beside it are its own.
    """

    pixels: Tensor | StoredImages | Generated
    labels: Mapping[str, Any] = field(default_factory=dict)
    called: Sequence[str] = ()
    groups: Tensor | None = None
    files: Sequence[Path] = ()
    kept: Tensor | None = None
    total: int = 0
    indices: Tensor | None = None


def _read(data: Any, size: int | None) -> _Found:
    if isinstance(data, ImageSet):
        return _Found(data.pixels, data.concepts, groups=data.groups, indices=data.indices)
    if isinstance(data, (str, Path)) or _is_files(data):
        files, names = find_images(Path(data)) if isinstance(data, (str, Path)) else ([Path(f) for f in data], None)
        pixels, kept = read_files(files, size or _own_side(files))
        labels = {} if names is None else {"class": np.asarray(names)[kept.numpy()]}
        some = kept if len(kept) < len(files) else None
        return _Found(pixels, labels, files=files, kept=some, total=len(files))
    if isinstance(data, (np.ndarray, Tensor)):
        return _Found(_from_whole(from_numpy(data) if isinstance(data, np.ndarray) else data.detach().cpu()))
    if hasattr(data, "__getitem__") or hasattr(data, "__iter__"):
        pixels, labels, chosen, total = read_items(data, size)
        return _Found(pixels, labels, class_names(data), kept=chosen, total=total)
    raise DataError(
        "Cannot read images from this",
        expected="a folder, files, an array (N, 3, H, W) or (N, H, W, 3), a data set or a DataLoader",
        got=type(data).__name__,
    )


def _as_concepts(found: _Found, given: Mapping[str, Any]) -> dict[str, Concept]:
    """Read labels; those that nobody asked for, and that can be no concept, are left out and told."""
    read = {}
    for name, labels in {**found.labels, **given}.items():
        try:
            read[name] = as_concept(name, labels, () if name in given else found.called)
        except DataError as error:
            if name in given:
                raise
            warnings.warn(f"The labels that come with the data are left out. {error}", InvkitWarning, stacklevel=3)
    return read


def _numbered(groups: Any) -> Tensor:
    """Return numbers to groups of any names."""
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
    """The side at which files are explained, by the usual one of them."""
    sides = []
    for file in files[:20]:
        with suppress(Exception):  # those that cannot be read are told later
            sides.append(tried(lambda: _side(file)))  # noqa: B023 - called at once
    return usual_side(int(np.median(sides)) if sides else 64)


def _side(file: Path) -> int:
    with Image.open(file) as image:
        return min(image.size)


def _chosen(what: str, labels: Any, found: _Found) -> Any:
    """Return the labels of the images that could be read.

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


def _from_whole(array: Tensor) -> Tensor | StoredImages:
    """Take an array of all images; one that memory has no room for twice is not copied, whatever lies behind it."""
    maps = as_maps(array)
    small = maps.nbytes <= max_bytes_in_memory()
    if small:
        maps = checked(maps.contiguous())
    else:
        for start in range(0, len(maps), _PART):
            checked(maps[start : start + _PART], start)
    if maps.shape[-1] != maps.shape[-2]:
        return concatenate_images((resize_and_crop(part.contiguous(), None) for part in maps.split(_PART)), len(maps))
    return maps if small else StoredImages(maps, torch.arange(len(maps)))

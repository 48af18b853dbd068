"""Loading of folders, data sets, loaders, arrays and tensors as an :class:`ImageSet`."""

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
from invkit.data.datasets import class_names, read_items
from invkit.data.generated import Generated
from invkit.data.image_files import find_images, read_files
from invkit.data.imageset import ImageSet
from invkit.data.retry import retried
from invkit.data.storage import StoredImages, concatenate_images, from_numpy, max_bytes_in_memory
from invkit.data.transforms import default_size, resize_and_crop, to_nchw, validated
from invkit.errors import DataError, InvkitWarning
from invkit.plugins import list_names, load_named

__all__ = ["as_image_set"]

_BATCH = 256  # images of an array checked at once


def as_image_set(
    data: Any,
    *,
    size: int | None = None,
    concepts: Mapping[str, Any] | str | Path | None = None,
    groups: Any = None,
) -> ImageSet:
    """Load images from a folder, an array, a data set or a loader, with concepts and groups.

    All images get one size: resized by the shorter side, then centre-cropped. Images of files, data sets and loaders
    are stored as uint8; arrays and tensors keep their type. Images beyond a quarter of free memory go to an unlinked
    temporary file; an array that large is not copied but read by rows.

    Args:
        data: one of

            - a folder of image files, sorted by path; if all lie in sub-folders, these are the concept `class`;
            - a list of image files;
            - an array or tensor, (N, 3, H, W) or (N, H, W, 3), or (N, H, W) for grey images; uint8, or float in [0, 1];
            - a torch or torchvision data set or a DataLoader, of images or (image, label, …). The label is the concept
              `class`, with the names of the set's `classes`; labels that are no concept are dropped with a warning;
            - the name of a data set of a plugin, for instance ``"color-digits"``, or ``"mnist:ROOT"`` with torchvision;
            - an ImageSet.
        size: side of the images in pixels; None for the usual one of the files, or the first image's, clamped to
            28 to 64.
        concepts: labels by name, in the order of the images, see :func:`as_concept`; for a folder also the path of a
            CSV file, see :func:`read_attributes`.
        groups: a group name or number for each image; a train/test split never divides a group.

    Returns:
        the images. One that cannot be read in three attempts is left out with a warning, with its labels and group.

    Raises:
        DataError: no images; values that are not finite or out of range; more than a tenth of the images, or any of an
            iterable data set or loader, cannot be read; labels that do not match the images.

    Example:
        >>> import torch
        >>> import invkit
        >>> pixels = torch.rand(6, 3, 40, 60)
        >>> images = invkit.as_image_set(pixels, size=28, concepts={"animal": ["cat", "dog"] * 3})
        >>> len(images), images.size, images.concepts["animal"].names
        (6, 28, ('cat', 'dog'))
    """
    if isinstance(data, np.ndarray) and data.dtype.kind in "UO":  # file names, or images of several sizes
        data = data.tolist()
    if isinstance(data, str) and _is_plugin_name(data):
        data = load_named("dataset", data, object)
    _check_labels(data, concepts, groups)
    found = _read(data, size)
    if len(found.pixels) == 0:
        raise DataError("There are no images", expected="at least one")
    if isinstance(concepts, (str, Path)):
        concepts = read_attributes(Path(concepts), Path(data), found.files)
    given = {name: _of_kept(f"The concept '{name}'", labels, found) for name, labels in (concepts or {}).items()}
    read = _as_concepts(found, given)
    groups = found.groups if groups is None else _numbered(_of_kept("`groups`", groups, found))
    images = ImageSet(found.pixels, read, groups, found.kept if found.indices is None else found.indices)
    own = images.size if isinstance(found.pixels, Generated) else default_size(images.size)
    return images.resized(size or own)


def _check_labels(data: Any, concepts: Any, groups: Any) -> None:
    """Raise an error for labels that cannot be matched with the images, or whose name is reserved."""
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
            "This loader shuffles or samples, so that `concepts` and `groups` cannot be matched with its images",
            expected="a data set, or a loader with shuffle=False",
            got="a DataLoader with another order than its data set's, with concepts or groups",
        )


def _in_order(loader: DataLoader[Any]) -> bool:
    """Whether a loader yields all images in the order of its data set."""
    if isinstance(loader.dataset, IterableDataset):
        return True
    batches = loader.batch_sampler
    if batches is None:
        return isinstance(loader.sampler, SequentialSampler)
    return type(batches) is BatchSampler and isinstance(batches.sampler, SequentialSampler)


@dataclass(frozen=True)
class _Found:
    """Images as read, before concepts are made.

    Attributes:
        pixels: (N, 3, S, S).
        labels: that come with the data, by name.
        class_names: names of integer labels, by number.
        groups: of an ImageSet.
        files: paths, of a folder or list of files.
        kept: indices of the images that could be read, if not all.
        total: number of images, including those that could not be read.
        indices: of an ImageSet, the index of each image in the data it was read from.
    """

    pixels: Tensor | StoredImages | Generated
    labels: Mapping[str, Any] = field(default_factory=dict)
    class_names: Sequence[str] = ()
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
        return _Found(_from_array(from_numpy(data) if isinstance(data, np.ndarray) else data.detach().cpu()))
    if hasattr(data, "__getitem__") or hasattr(data, "__iter__"):
        pixels, labels, chosen, total = read_items(data, size)
        return _Found(pixels, labels, class_names(data), kept=chosen, total=total)
    raise DataError(
        "Cannot read images from this",
        expected="a folder, files, an array (N, 3, H, W) or (N, H, W, 3), a data set or a DataLoader",
        got=type(data).__name__,
    )


def _as_concepts(found: _Found, given: Mapping[str, Any]) -> dict[str, Concept]:
    """Convert labels to concepts; those that come with the data and are no concept are dropped with a warning."""
    read = {}
    for name, labels in {**found.labels, **given}.items():
        try:
            read[name] = as_concept(name, labels, () if name in given else found.class_names)
        except DataError as error:
            if name in given:
                raise
            warnings.warn(f"The labels that come with the data are dropped. {error}", InvkitWarning, stacklevel=3)
    return read


def _numbered(groups: Any) -> Tensor:
    """Number groups of any names."""
    return torch.from_numpy(np.unique(np.asarray(groups), return_inverse=True)[1])


def _is_plugin_name(text: str) -> bool:
    """Whether a string is the name of a plugin's data set and not of an existing folder."""
    if Path(text).exists():
        return False
    head = text.partition(":")[0]
    return any(head == prefix or head in names for prefix, names in list_names("dataset").items())


def _is_files(data: Any) -> bool:
    return isinstance(data, Sequence) and len(data) > 0 and all(isinstance(f, (str, Path)) for f in data)


def _own_side(files: Sequence[Path]) -> int:
    """Return the default side for files: the median of the first 20, clamped."""
    sides = []
    for file in files[:20]:
        with suppress(Exception):  # reported later
            sides.append(retried(lambda: _side(file)))  # noqa: B023 - called at once
    return default_size(int(np.median(sides)) if sides else 64)


def _side(file: Path) -> int:
    with Image.open(file) as image:
        return min(image.size)


def _of_kept(what: str, labels: Any, found: _Found) -> Any:
    """Return the labels of the images that could be read.

    Raises:
        DataError: another number of labels than of images, including those that could not be read.
    """
    if found.kept is None:
        return labels
    concept = labels if isinstance(labels, Concept) else None
    values = labels if concept is None else concept.values
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if len(array) != found.total:
        raise DataError(
            f"{what} does not match the images",
            expected=f"{found.total} values, one for each image, also for those that could not be read",
            got=len(array),
            hint="Pass the labels in the order of the images.",
        )
    return array[found.kept.numpy()] if concept is None else concept.take(found.kept)


def _from_array(array: Tensor) -> Tensor | StoredImages:
    """Validate an array of all images; one that does not fit memory twice is not copied, and may be memory-mapped."""
    maps = to_nchw(array)
    small = maps.nbytes <= max_bytes_in_memory()
    if small:
        maps = validated(maps.contiguous())
    else:
        for start in range(0, len(maps), _BATCH):
            validated(maps[start : start + _BATCH], start)
    if maps.shape[-1] != maps.shape[-2]:
        return concatenate_images((resize_and_crop(part.contiguous(), None) for part in maps.split(_BATCH)), len(maps))
    return maps if small else StoredImages(maps, torch.arange(len(maps)))

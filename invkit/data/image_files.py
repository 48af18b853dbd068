"""Image files of any format, read as RGB at one size."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from invkit.data.retry import read_each
from invkit.data.storage import StoredImages, concatenate_images
from invkit.errors import DataError

__all__ = ["SUFFIXES", "find_images", "read_files", "square"]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})

_MAX_THREADS = 16


def find_images(folder: Path) -> tuple[list[Path], list[str] | None]:
    """List image files below a folder, sorted by path, and their classes if all lie in sub-folders (as ImageFolder).

    Raises:
        DataError: no such folder, or no image in it.
    """
    files = sorted(p for p in _all_below(folder) if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise DataError(
            f"No images in {folder}",
            expected=f"a folder with {', '.join(sorted(SUFFIXES))} files",
            got="no such folder" if not folder.is_dir() else "none below it",
        )
    names = [f.relative_to(folder).parts[0] if len(f.relative_to(folder).parts) > 1 else "" for f in files]
    return files, names if all(names) and len(set(names)) > 1 else None


def _all_below(folder: Path) -> Iterator[Path]:
    """Return all files below a folder, following links to folders except back to a parent."""
    for place, folders, files in os.walk(folder, followlinks=True):
        here = Path(place)
        folders[:] = [name for name in folders if not here.resolve().is_relative_to((here / name).resolve())]
        yield from (here / name for name in files)


def read_files(files: Sequence[Path], size: int) -> tuple[Tensor | StoredImages, Tensor]:
    """Read files as (N, 3, size, size) uint8: resized by the shorter side and centre-cropped, as torchvision does.

    Grey, palette, CMYK and 16-bit files become RGB, transparency is put on white, EXIF rotation is applied. Files that
    cannot be read are left out, with one warning.

    Returns:
        the pixels, in memory or in a temporary file, and the index of the file of each.

    Raises:
        DataError: more than a tenth of the files cannot be read.
    """
    kept: list[int] = []

    def read(index: int) -> Tensor:
        with Image.open(files[index]) as image:
            return torch.from_numpy(np.asarray(square(to_rgb(image), size)).copy()).movedim(-1, 0)

    def images() -> Iterator[Tensor]:
        threads = min(_MAX_THREADS, torch.get_num_threads())
        found = read_each(read, len(files), name=lambda k: files[k].name, threads=threads)
        for index, image in found:
            kept.append(index)
            yield image[None]

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        return concatenate_images(images(), len(files)), torch.tensor(kept)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any PIL image to RGB, upright."""
    top = 65535.0 if _of_sixteen_bits(image) else None
    image = ImageOps.exif_transpose(image)
    if top or image.mode in ("I", "F"):
        grey = np.asarray(image).astype(np.float64)
        top = top or (65535.0 if grey.max() > 255 else 255.0 if grey.max() > 1 else 1.0)  # a guess
        image = Image.fromarray((grey / top * 255).clip(0, 255).astype(np.uint8))
    if image.mode == "P" or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _of_sixteen_bits(image: Image.Image) -> bool:
    """Whether an image has 16 bits, by its mode, or by its format, which a copy no longer has."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))


def square(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size` and crop the centre."""
    return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)

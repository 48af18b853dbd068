"""A CSV table of attributes as labels of image files."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from invkit.errors import DataError

__all__ = ["read_attributes"]

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


def read_attributes(table: Path, folder: Path, files: Sequence[Path]) -> dict[str, Any]:
    r"""Read labels from a CSV file with a header: each column is a concept.

    The first column holds the image's path below the folder, or its file name. Integers and words are classes, numbers
    with a decimal point are quantities, ``#rrggbb`` values are colours in [0, 1].

    Args:
        table: path of the CSV file.
        folder: folder of the images.
        files: paths of the images.

    Returns:
        for each column, the labels in the order of the files.

    Raises:
        DataError: the table cannot be read, has no columns or lines of several lengths; an image is missing or listed
            twice; a name matches several images; a value is empty.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from invkit.data import read_attributes
        >>> folder = Path(tempfile.mkdtemp())
        >>> table = folder / "attributes.csv"
        >>> _ = table.write_text("file,animal,age\na.png,cat,3.5\nb.png,dog,1.0\n")
        >>> read_attributes(table, folder, [folder / "b.png", folder / "a.png"])["animal"].tolist()
        ['dog', 'cat']
    """
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"Cannot read the attributes in {table}", expected="a CSV file", got=str(error)) from error
    ragged = next((number for number, row in enumerate(rows, 2) if len(row) != len(header)), None)
    if len(header) < 2 or ragged is not None:
        raise DataError(
            f"{table} is not a table of attributes",
            expected="a header, then a line for each image: its file, and a value in every column",
            got=f"{len(header)} columns" if ragged is None else f"another number of values in line {ragged}",
        )
    known = {row[0].strip(): row[1:] for row in rows}
    paths = [file.relative_to(folder).as_posix() for file in files]
    names = [path if path in known else file.name for path, file in zip(paths, files, strict=True)]
    missing = [name for name in names if name not in known]
    if missing:
        raise DataError(
            f"{table} does not name every image",
            expected=f"{len(files)} files of {folder} in the column '{header[0]}'",
            got=f"{len(missing)} missing, the first {missing[0]}",
        )
    titles = [title.strip() for title in header[1:]]
    _check_unique(table, [row[0].strip() for row in rows], "lines name")
    _check_unique(table, names, "images have the name")
    _check_unique(table, titles, "columns have the name")
    columns = {title: [known[name][k].strip() for name in names] for k, title in enumerate(titles)}
    for title, column in columns.items():
        if "" in column:
            raise DataError(
                f"{table} lacks a value in the column '{title}'",
                expected="a value for each image",
                got=f"none for {paths[column.index('')]}",
                hint="Remove the image or the column.",
            )
    return {title: _values(column) for title, column in columns.items()}


def _check_unique(table: Path, names: Sequence[str], what: str) -> None:
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise DataError(
            f"{table} has ambiguous lines",
            expected="one line for each image, named by its path below the folder if several share a file name",
            got=f"{count} {what} {name}",
        )


def _values(texts: Sequence[str]) -> Any:
    """Convert strings to colours, integers or floats where all can be."""
    if all(_COLOUR.fullmatch(text) for text in texts):
        return np.array([[int(text[k : k + 2], 16) / 255 for k in (1, 3, 5)] for text in texts], np.float32)
    for kind in (int, float):
        try:
            return np.array([kind(text) for text in texts])
        except ValueError:
            continue
    return np.array(texts)

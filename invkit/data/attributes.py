"""A table of attributes (CSV) as labels of the image files that it names."""

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
    """Read one concept from each column of a CSV file with a header, in the order of the files.

    The first column names the image: its path below the folder, or its bare name. Whole numbers and words are
    classes, numbers with a decimal point are quantities, ``#rrggbb`` are colours.

    Args:
        table: the CSV file.
        folder: of the images.
        files: the images.

    Raises:
        DataError: no such table, no columns, a ragged one, images that it does not name, or names twice, a name that
            fits several, or an empty value.
    """
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"Cannot read the attributes in {table}", expected="a CSV file", got=str(error)) from error
    ragged = next((number for number, row in enumerate(rows, 2) if len(row) != len(header)), None)
    if len(header) < 2 or ragged is not None:
        raise DataError(
            f"{table} is no table of attributes",
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
    _expect_once(table, [row[0].strip() for row in rows], "lines name")
    _expect_once(table, names, "images have the name")
    _expect_once(table, titles, "columns have the name")
    columns = {title: [known[name][k].strip() for name in names] for k, title in enumerate(titles)}
    for title, column in columns.items():
        if "" in column:
            raise DataError(
                f"{table} lacks a value in the column '{title}'",
                expected="a value for each image",
                got=f"none for {paths[column.index('')]}",
                hint="Leave the image or the column out.",
            )
    return {title: _values(column) for title, column in columns.items()}


def _expect_once(table: Path, names: Sequence[str], what: str) -> None:
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise DataError(
            f"{table} does not say which value is whose",
            expected="a line for each image, named by its path below the folder where several have one name",
            got=f"{count} {what} {name}",
        )


def _values(texts: Sequence[str]) -> Any:
    """Return strings the type that they are written in."""
    if all(_COLOUR.fullmatch(text) for text in texts):
        return np.array([[int(text[k : k + 2], 16) / 255 for k in (1, 3, 5)] for text in texts], np.float32)
    for kind in (int, float):
        try:
            return np.array([kind(text) for text in texts])
        except ValueError:
            continue
    return np.array(texts)

"""Metrics as rows, and rows as a pandas data frame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from invkit.errors import PluginError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NUMBERS", "data_frame", "flat_rows", "metric_rows"]

NUMBERS = ("value", "standard_error", "n")  #: columns of an estimate


def data_frame(rows: Iterable[Mapping[str, Any]], *columns: str) -> pd.DataFrame:
    """Return rows as a data frame with these columns.

    Raises:
        PluginError: pandas is not installed.

    Example:
        >>> list(data_frame([], "metric", "value").columns)
        ['metric', 'value']
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise PluginError(
            "Data frames need pandas, which is not installed",
            hint="pip install pandas; `to_dict()` returns the same numbers without it.",
        ) from error
    return pd.DataFrame([*rows], columns=[*columns])


def metric_rows(metrics: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return one row per metric and concept of an explanation's metrics.

    Args:
        metrics: by name, a number, an estimate as a dictionary, or a group of these. A group's names are concepts;
            those of the group `fidelity` are metrics, and left out if a metric outside it has the same name.

    Yields:
        `metric`, `concept` (None for metrics of the whole layer), `value`, `standard_error` and `n`.

    Example:
        >>> [row["concept"] for row in metric_rows({"nll": 1.2, "probe": {"digit": 0.5, "colour": 0.1}})]
        [None, 'digit', 'colour']
    """
    for path, numbers in _leaves(metrics):
        if path[0] == "fidelity":
            name, concept = path[-1], None
            if name in metrics:
                continue
        else:
            name, concept = path[0], " / ".join(path[1:]) or None
        yield {"metric": name, "concept": concept, **numbers}


def flat_rows(metrics: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return one row per number of a nested mapping; texts and truth values are left out.

    Yields:
        `metric`, its keys joined by ` / `, `value`, `standard_error` and `n`.

    Example:
        >>> [row["metric"] for row in flat_rows({"layers": {"conv1": {"share": 0.5}}, "pixels": [1, 2]})]
        ['layers / conv1 / share', 'pixels / 0', 'pixels / 1']
    """
    for path, numbers in _leaves(metrics):
        yield {"metric": " / ".join(path), **numbers}


def _leaves(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Return the path and the numbers of each estimate and each number in nested mappings and lists."""
    if isinstance(content, Mapping) and content.keys() == {*NUMBERS}:
        yield path, {**content, "standard_error": _known(content["standard_error"]), "value": _known(content["value"])}
    elif isinstance(content, Mapping | list | tuple):
        pairs = content.items() if isinstance(content, Mapping) else enumerate(content)
        for key, value in pairs:
            yield from _leaves(value, (*path, str(key)))
    elif content is None or (isinstance(content, int | float) and not isinstance(content, bool)):
        yield path, {"value": _known(content), "standard_error": math.nan, "n": None}


def _known(number: float | None) -> float:
    """Return NaN for None, which stands for it in JSON."""
    return math.nan if number is None else float(number)

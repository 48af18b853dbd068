"""`Study`: the result of a study, the metrics that decide its claim, and a page."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from invkit.core import Estimate
from invkit.report import NUMBERS, Section, Table, data_frame, flat_rows, load_sections, save_sections, write_page
from invkit.utils.io import nan_to_none
from invkit.utils.manifest import read_manifest, write_manifest
from invkit.utils.text import one_line

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Study", "over_seeds", "shows", "verdict"]

_FORMAT = 1


@dataclass(frozen=True, eq=False, repr=False)
class Study:
    """The result of a study.

    Attributes:
        name: name of the study, as on the command line.
        title: title of its page.
        claim: the paper's claim, one sentence.
        headline: the metrics that decide the claim, by name.
        holds: True if they support the claim, False if they contradict it, None if they leave it open.
        metrics: all metrics, JSON-able.
        sections: sections of its page after the claim.

    Example:
        >>> from invkit.core import Estimate
        >>> from invkit.studies import Study
        >>> rise = {"rise": Estimate(0.31, 0.02, n=600)}
        >>> study = Study("layers", "Over depth", "Invariance rises.", rise, True, {"curve": {"1": 0.2, "2": 0.51}})
        >>> study
        Study('layers', holds=True, headline=['rise'])
        >>> print(study)
        Over depth: Here it holds.
          rise: 0.310 ± 0.020
        >>> list(study.to_frame().metric)
        ['headline / rise', 'curve / 1', 'curve / 2']
    """

    name: str
    title: str
    claim: str
    headline: Mapping[str, Estimate]
    holds: bool | None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    sections: Sequence[Section] = ()

    def __repr__(self) -> str:
        return one_line(f"Study({self.name!r}, holds={self.holds}, headline={list(self.headline)})")

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def __str__(self) -> str:
        return "\n".join([f"{self.title}: {_VERDICTS[self.holds]}", *(f"  {n}: {e}" for n, e in self.headline.items())])

    def to_dict(self) -> dict[str, Any]:
        """Return claim, verdict and all metrics as JSON-able values; None for a number that is not finite."""
        content: dict[str, Any] = nan_to_none(
            {
                "study": self.name,
                "claim": self.claim,
                "holds": self.holds,
                "headline": {name: vars(estimate) for name, estimate in self.headline.items()},
                **self.metrics,
            }
        )
        return content

    def to_frame(self) -> pd.DataFrame:
        """Return all metrics as a pandas data frame, one row per number.

        Returns:
            a frame with the columns `study`, `metric` (the keys of :meth:`to_dict`, joined by ` / `), `value`,
            `standard_error` (NaN if unknown) and `n`.

        Raises:
            PluginError: pandas is not installed.
        """
        rows = flat_rows({"headline": {name: vars(share) for name, share in self.headline.items()}, **self.metrics})
        return data_frame(({"study": self.name, **row} for row in rows), "study", "metric", *NUMBERS)

    def to_html(self, file: str | Path) -> Path:
        """Write one HTML file with claim, verdict, pictures and tables; it needs no network to be viewed.

        Raises:
            ArtefactError: the file can't be written.
        """
        rows = [[name, str(estimate), str(estimate.n)] for name, estimate in self.headline.items()]
        claim = Section(
            "The claim", f"{self.claim} {_VERDICTS[self.holds]}", (), [Table(["", "value ± error", "n"], rows)]
        )
        return write_page(Path(file), self.title, [claim, *self.sections])

    def save(self, folder: str | Path) -> Path:
        """Write the study as JSON (study.json), and the pictures of its page as PNG files.

        Raises:
            ArtefactError: the folder can't be written.

        Example:
            >>> import tempfile
            >>> study = Study("layers", "Over depth", "Invariance rises.", {"rise": Estimate(0.31, 0.02, 600)}, True)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     Study.load(study.save(folder))
            Study('layers', holds=True, headline=['rise'])
        """
        folder = Path(folder)
        content = {
            "format": _FORMAT,
            "name": self.name,
            "title": self.title,
            "claim": self.claim,
            "headline": {name: vars(estimate) for name, estimate in self.headline.items()},
            "holds": self.holds,
            "metrics": dict(self.metrics),
            "sections": save_sections(folder / "pictures", self.sections),
        }
        write_manifest(folder / "study.json", nan_to_none(content))
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Study:
        """Read a study written by :meth:`save`, its page included. Nothing in the folder is executed.

        Raises:
            ArtefactError: missing, damaged, or of another version.
        """
        folder = Path(folder)
        content = read_manifest(folder / "study.json", "a study", _FORMAT)
        headline = {name: _estimate(**own) for name, own in content["headline"].items()}
        metrics, sections = content["metrics"], load_sections(folder / "pictures", content["sections"])
        return cls(content["name"], content["title"], content["claim"], headline, content["holds"], metrics, sections)


_NOTHING = 0.02  # largest share that counts as 0
_VERDICTS = {
    True: "Here it holds.",
    False: "Here it does not hold.",
    None: "Here it is undecided.",
}


def shows(share: Estimate, errors: float = 2.0) -> bool | None:
    """Test whether a share, or a difference of shares, is above 0; None if that is open.

    Less than 0.02 counts as 0, so that a precise share near 0 contradicts a claim.

    Args:
        share: the estimate.
        errors: required distance from 0, in standard errors.

    Example:
        >>> from invkit.core import Estimate
        >>> shows(Estimate(0.1, 0.02, 600)), shows(Estimate(0.1, 0.08, 600)), shows(Estimate(0.003, 0.004, 600))
        (True, None, False)
    """
    return share.exceeds(errors=errors, nothing=_NOTHING)


def verdict(*parts: bool | None) -> bool | None:
    """Combine the verdicts of a claim's parts: False if one fails, otherwise None if one is open, otherwise True.

    Example:
        >>> verdict(True, True), verdict(True, None), verdict(None, False)
        (True, None, False)
    """
    return False if False in parts else None if None in parts else True


def over_seeds(run: Callable[[int], Study], seeds: Sequence[int]) -> Study:
    """Run a study on several seeds; return the last one's page with headline metrics averaged over seeds.

    The standard error is that of the mean over seeds; `n` is their number. The claim holds if it does for each seed.

    Args:
        run: returns the study of one seed.
        seeds: two or more.

    Example:
        >>> from invkit.core import Estimate
        >>> def run(seed):
        ...     return Study("layers", "Over depth", "It rises.", {"rise": Estimate(0.3 + 0.01 * seed, 0.02, 9)}, True)
        >>> over_seeds(run, [0, 1, 2]).headline
        {'rise': 0.310 ± 0.006}
    """
    found = [run(seed) for seed in seeds]
    headline = {
        name: _mean([study.headline[name].value for study in found])
        for name in found[-1].headline
        if all(name in study.headline for study in found)
    }
    verdicts = [study.holds for study in found]
    rows = [
        [name, *(str(study.headline[name]) for study in found), str(estimate)] for name, estimate in headline.items()
    ]
    table = Table(["", *(f"seed {seed}" for seed in seeds), "mean over seeds"], rows)
    last = found[-1]
    each = {f"seed {seed}": study.to_dict() for seed, study in zip(seeds, found, strict=True)}
    text = f"The claim holds if it does for each seed. All sections below are of seed {seeds[-1]} alone."
    sections = [Section("Seed by seed", text, (), [table]), *last.sections]
    return Study(last.name, last.title, last.claim, headline, verdict(*verdicts), each, sections)


def _estimate(value: float | None, standard_error: float | None, n: int) -> Estimate:
    """Return an estimate read from JSON, where None stands for a number that is not finite."""
    return Estimate(math.nan if value is None else value, math.nan if standard_error is None else standard_error, n)


def _mean(values: Sequence[float]) -> Estimate:
    spread = torch.tensor(values, dtype=torch.float64)
    return Estimate(float(spread.mean()), float(spread.std()) / math.sqrt(len(values)), len(values))

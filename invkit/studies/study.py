"""What a study gives: the metrics its claim is judged by, and a page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from invkit.core import Estimate
from invkit.report import Section, Table, write_page
from invkit.utils.io import nan_to_none

__all__ = ["Study", "over_seeds", "shows", "verdict"]


@dataclass(frozen=True)
class Study:
    """What a study found.

    Attributes:
        name: of the study, as on the command line.
        title: of its page.
        claim: what the paper says, one sentence.
        headline: the few metrics that the claim is judged by, by name.
        holds: True where they bear the claim out, False where they speak against it, None where they leave it open.
        metrics: all metrics, JSON-able.
        sections: of its page, the claim not among them.
    """

    name: str
    title: str
    claim: str
    headline: Mapping[str, Estimate]
    holds: bool | None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    sections: Sequence[Section] = ()

    def __str__(self) -> str:
        return "\n".join([f"{self.title}: {_VERDICTS[self.holds]}", *(f"  {n}: {e}" for n, e in self.headline.items())])

    def to_dict(self) -> dict[str, Any]:
        """Return claim, verdict and all metrics as JSON-able values, None where a metric is unknown."""
        told: dict[str, Any] = nan_to_none(
            {
                "study": self.name,
                "claim": self.claim,
                "holds": self.holds,
                "headline": {name: vars(estimate) for name, estimate in self.headline.items()},
                **self.metrics,
            }
        )
        return told

    def to_html(self, file: str | Path) -> Path:
        """Write one HTML file with claim, verdict, pictures and tables; it needs no network to be viewed.

        Raises:
            ArtefactError: the file can't be written.
        """
        rows = [[name, str(estimate), str(estimate.n)] for name, estimate in self.headline.items()]
        told = Section(
            "The claim", f"{self.claim} {_VERDICTS[self.holds]}", (), [Table(["", "value ± error", "n"], rows)]
        )
        return write_page(Path(file), self.title, [told, *self.sections])


_NOTHING = 0.02  # of a share
_VERDICTS = {
    True: "Here it holds.",
    False: "Here it does not hold.",
    None: "Here nothing can be said of it.",
}


def shows(share: Estimate, errors: float = 2.0) -> bool | None:
    """Say whether a share, or by how much one is above another, is above nothing; None where that is open.

    Less than 0.02 is nothing, so that a precise share near 0 speaks against a claim.
    """
    return share.exceeds(errors=errors, nothing=_NOTHING)


def verdict(*parts: bool | None) -> bool | None:
    """Return what follows for a claim from its parts: False where one fails, None where one is open and none fails."""
    return False if False in parts else None if None in parts else True


def over_seeds(run: Callable[[int], Study], seeds: Sequence[int]) -> Study:
    """Run a study on several seeds; give the last one's page with headline metrics averaged over seeds.

    The standard error is that of the mean over seeds; `n` is their number. The claim holds if it does for each seed.

    Args:
        run: the study of one seed.
        seeds: two or more.
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
    text = f"The claim holds if it does for each seed. All that follows is of seed {seeds[-1]} alone."
    sections = [Section("Seed by seed", text, (), [table]), *last.sections]
    return Study(last.name, last.title, last.claim, headline, verdict(*verdicts), each, sections)


def _mean(values: Sequence[float]) -> Estimate:
    spread = torch.tensor(values, dtype=torch.float64)
    return Estimate(float(spread.mean()), float(spread.std()) / math.sqrt(len(values)), len(values))

"""Many explanations on the same footing: curves over depth or over training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invkit.core import Estimate
from invkit.explanation.explanation import Explanation
from invkit.explanation.fidelity import disagreement_text
from invkit.explanation.page import fidelity_section, metrics_table, protocol_section, samples_section
from invkit.report import Picture, Section, Table, curves, write_page
from invkit.utils.io import nan_to_none

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Profile"]


@dataclass(frozen=True)
class Profile:
    """Explanations of several layers, or of several checkpoints, that share data, autoencoder and e.

    Attributes:
        explanations: by layer or checkpoint, in order.
        axis: what the order is: `layer`, `checkpoint` or `training step`.
    """

    explanations: Mapping[str, Explanation]
    axis: str = "layer"

    def __getitem__(self, name: str) -> Explanation:
        return self.explanations[name]

    def invariance(self) -> dict[str, Estimate]:
        """Return eq. 19 of each."""
        return {name: explanation.invariance() for name, explanation in self.explanations.items()}

    def concepts(self) -> dict[str, Mapping[str, Estimate]]:
        """Return eq. 20 of each."""
        return {name: explanation.concepts() for name, explanation in self.explanations.items()}

    def plot(self) -> Figure:
        """Draw invariance and concept shares over the axis, with bands of one standard error."""
        series: dict[str, list[Estimate]] = {}
        for explanation in self.explanations.values():
            for name, estimate in {"invariance": explanation.invariance(), **explanation.concepts()}.items():
                series.setdefault(name, []).append(estimate)
        names = list(self.explanations)
        at: list[Any] = [int(n) for n in names] if all(n.isdecimal() for n in names) else names
        return curves(at, series, self.axis)

    def to_dict(self) -> dict[str, Any]:
        """Return all metrics as JSON-able values, None where a metric is unknown."""
        return {
            name: {"layer": explanation.layer, **nan_to_none(explanation.metrics)}
            for name, explanation in self.explanations.items()
        }

    def sections(self, *, every: bool = False) -> list[Section]:
        """Return the sections of a page: curves, table, what to trust, samples of the first and the last, or of all."""
        header, rows = metrics_table(dict(self.explanations))
        caption = (
            "Invariance (eq. 19): share of the variance of the image code that the representation leaves open. "
            "Concepts (eq. 20): share of each concept's variance that it explains. Bands: one standard error."
        )
        doubts = {name: disagreement_text(explanation) for name, explanation in self.explanations.items()}
        text = " ".join(f"{self.axis.capitalize()} {name}: {doubt}" for name, doubt in doubts.items() if doubt)
        found = [Section("Curves", text, [Picture(self.plot(), caption)], [Table(header, rows)])]
        found.append(fidelity_section(dict(self.explanations)))
        names = list(self.explanations)
        for name in names if every else dict.fromkeys([names[0], names[-1]]):
            title = f"Samples: {self.axis} {name}"
            found.append(samples_section(self.explanations[name], title))
        return found

    def to_html(self, file: str | Path) -> Path:
        """Write one HTML file that needs no network."""
        protocol = next(iter(self.explanations.values())).protocol
        short = [name for name, explanation in self.explanations.items() if "training" in explanation.protocol]
        if short:
            protocol = {**protocol, "training": f"cut short: {', '.join(short)}"}
        return write_page(Path(file), f"Over {self.axis}s", [*self.sections(), protocol_section(protocol)])

"""The page of the demo, and the files beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from invkit.core import Estimate
from invkit.data import evenly_spaced
from invkit.explanation import Explanation
from invkit.explanation.profile import Profile
from invkit.explanation.sections import edits_section, protocol_section
from invkit.report import Section, Table, write_page, write_png
from invkit.utils.io import write_json

__all__ = ["write_report"]

_TITLE = "What SqueezeNet keeps of a coloured digit, and what it throws away"
_INTRODUCTION = (
    "SqueezeNet 1.1 learned to name handwritten digits in random colours. Its penultimate Fire module was explained "
    "before, during and after training. At first the layer holds colours, because they fill most pixels; as the "
    "network learns, it keeps the digit and throws the colours away."
)
_UNFINISHED = (
    " This page is a first one: the checkpoints between the first and the last, and what an independent judge reads "
    "from samples and edits, follow."
)


def write_report(out: Path, profile: Profile, metrics: dict[str, Any]) -> Path:
    """Write report.html, curves.png, samples.png and metrics.json.

    Args:
        out: folder of the files.
        profile: explanations by training step.
        metrics: of the checkpoints; with `edits` also those of the judge.

    Returns:
        the HTML file.
    """
    first, *_, last = profile.explanations.values()
    write_json(out / "metrics.json", metrics)
    profile.plot().savefig(out / "curves.png", dpi=120, bbox_inches="tight")
    write_png(out / "samples.png", [_samples(first), _samples(last)])
    edits = edits_section(last)
    sections = [
        _network_section(metrics),
        *profile.sections(),
        Section(edits.title, edits.text, edits.pictures, _edit_tables(metrics)),
        protocol_section(last.protocol),
    ]
    return write_page(out / "report.html", _TITLE, sections)


def _network_section(metrics: dict[str, Any]) -> Section:
    judged = "edits" in metrics
    header = ["training step", "accuracy"]
    if judged:
        header += ["samples read as the same digit", "spread of background colour in samples"]
    rows = []
    for step, found in metrics["checkpoints"].items():
        row = [step, f"{found['accuracy']:.3f}"]
        if judged:
            row += [str(Estimate(**found["agreement"])), f"{found['colour_spread']['background']:.3f}"]
        rows.append(row)
    return Section("The network", _INTRODUCTION + ("" if judged else _UNFINISHED), (), [Table(header, rows)])


def _edit_tables(metrics: dict[str, Any]) -> list[Table]:
    """Return what the judge reads from edits as a table, if it was asked."""
    rates = metrics.get("edits", {})
    rows = [
        [swapped, *("" if rate is None else f"{rate:.2f}" for rate in judged.values())]
        for swapped, judged in rates.items()
    ]
    return [Table(["swapped", *(f"{name} judged changed" for name in rates)], rows)] if rates else []


def _samples(explanation: Explanation, rows: int = 8) -> Tensor:
    """Return samples (rows, rows, 3, S, S) of some held-out images."""
    chosen = evenly_spaced(len(explanation.held_out.data), rows)
    return explanation.sample_from(explanation.held_out.z[chosen], rows)

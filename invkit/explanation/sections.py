"""Sections of the HTML page of an explanation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from invkit.core import Estimate
from invkit.data import evenly_spaced
from invkit.explanation.fidelity import Fidelity, disagreement_text, fidelity
from invkit.report import Picture, Section, Table, sample_sheet, shares, write_page

if TYPE_CHECKING:
    from invkit.explanation.explanation import Explanation

__all__ = [
    "closing_sections",
    "edits_section",
    "fidelity_section",
    "metrics_table",
    "protocol_section",
    "samples_section",
    "trust_section",
    "write_explanation",
]


def write_explanation(explanation: Explanation, file: Path) -> Path:
    """Write the page of one explanation."""
    sections = [
        samples_section(explanation, "What the layer cannot distinguish"),
        fidelity_section({explanation.layer: explanation}),
        _numbers_section(explanation),
    ]
    if explanation.e is not None and explanation.autoencoder.has_encoder:
        sections.append(edits_section(explanation))
    sections.append(protocol_section(explanation.protocol))
    return write_page(file, f"What '{explanation.layer}' keeps and throws away", sections)


def samples_section(explanation: Explanation, title: str, text: str = "") -> Section:
    """Return the section of samples for held-out images."""
    caption = (
        "Left: held-out images. Second column: the autoencoder's reconstructions. Right: images that the layer "
        "cannot distinguish from the one at the left. What stays the same along a row is what the layer "
        "represents; what changes is what it throws away."
    )
    return Section(title, text, [Picture(explanation.plot(), caption)])


def _numbers_section(explanation: Explanation) -> Section:
    values = {"invariance": explanation.invariance(), **explanation.concepts()}
    caption = (
        "Invariance: share of the variance of the image code that remains when the representation is known "
        "(eq. 19). Concepts: share of each concept's variance that the representation explains at fixed v (eq. 20); "
        "in the table also the share that it determines alone, whatever v. Bars: one standard error."
    )
    picture = Picture(shares(values), caption)
    header, rows = metrics_table({explanation.layer: explanation})
    return Section("How much", disagreement_text(explanation), [picture], [Table(header, rows)])


def fidelity_section(explanations: Mapping[str, Explanation]) -> Section:
    """Return the fidelity of each explanation as lights and metrics."""
    return trust_section({name: fidelity(explanation) for name, explanation in explanations.items()})


def trust_section(found: Mapping[str, Fidelity]) -> Section:
    """Return fidelities by name as lights and metrics."""
    several = len(found) > 1
    judgements = [
        [*([name] if several else []), light.about, light.colour, light.text]
        for name, fidelity in found.items()
        for light in fidelity.lights
    ]
    names = dict.fromkeys(name for fidelity in found.values() for name in fidelity.metrics)
    cells = {name: [_text(fidelity.metrics.get(name)) for fidelity in found.values()] for name in names}
    tables = [
        Table([*([""] if several else []), "trust it for", "", "because"], judgements),
        Table(["metric", *found], [[name, *row] for name, row in cells.items()]),
    ]
    text = "Green: trust it. Amber: read the text beside it. Red: do not. All metrics are computed on held-out images."
    return Section("What to trust", text, (), tables)


def _text(metric: Estimate | float | None) -> str:
    return "" if metric is None else f"{metric:.3f}" if isinstance(metric, float) else str(metric)


def metrics_table(explanations: dict[str, Explanation]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of a table of all metrics, one column per explanation."""
    rows: dict[str, list[str]] = {}

    def put(name: str, value: object) -> None:
        rows.setdefault(name, []).append(str(value))

    for explanation in explanations.values():
        metrics = explanation.metrics
        put("invariance (eq. 19)", explanation.invariance())
        for name, share in explanation.concepts().items():
            put(f"{name}: share explained at fixed v (eq. 20)", share)
            put(f"{name}: share that z alone determines", explanation.determined()[name])
            if name in metrics.get("probe", {}):
                put(f"{name}: held-out R² of a ridge probe", Estimate(**metrics["probe"][name]))
        put("NLL(z̄), nats per dimension, held out", f"{metrics['nll_prior']:.3f}")
        put("NLL(z̄ | z), nats per dimension, held out", f"{metrics['nll']:.3f}")
        put("information found, nats", f"{metrics['information']:.1f}")
        if "psnr" in metrics:
            put("reconstruction, dB PSNR, held out", f"{metrics['psnr']:.1f}")
    return ["", *explanations], [[name, *cells] for name, cells in rows.items()]


def edits_section(explanation: Explanation, columns: int = 8) -> Section:
    """Return pictures of held-out images with each concept swapped for that of other held-out images."""
    assert explanation.e is not None
    data = explanation.held_out.data
    chosen = evenly_spaced(len(data), columns + 3)
    own, donors = data.images(chosen[:3]), data.images(chosen[3:])
    pictures = []
    for concept in explanation.e.concepts:
        rows = [donors] + [explanation.modify(x.expand_as(donors), **{concept: donors}) for x in own]
        figure = sample_sheet(
            torch.cat([torch.ones_like(own[:1]), own]),
            torch.cat([torch.ones_like(own[:1]), explanation.reconstruct(own)]),
            torch.stack(rows),
            f"{concept} swapped",
        )
        figure.axes[2].set_title(f"top: donors of the {concept}; below: x with it", fontsize=9)
        caption = f"Each row is the image at the left with the {concept} of the donor above and all else kept."
        pictures.append(Picture(figure, caption))
    return Section("Edits", "Swapping one factor of e and decoding changes that concept alone.", pictures)


def closing_sections(explanations: Mapping[str, Explanation], about: Mapping[str, Any] | None = None) -> list[Section]:
    """Return the fidelity of explanations by name, and their common protocol preceded by `about`."""
    protocol = next(iter(explanations.values())).protocol
    return [fidelity_section(explanations), protocol_section({**(about or {}), **protocol})]


def protocol_section(protocol: dict[str, Any]) -> Section:
    """Return the section of the settings that the metrics depend on."""
    text = (
        "The metrics measure what t can use of the representation; they depend on the settings below and may be "
        "compared between explanations that share them."
    )
    rows = [[key, json.dumps(value, ensure_ascii=False)] for key, value in protocol.items()]
    return Section("Protocol", text, (), [Table(["setting", "value"], rows)])

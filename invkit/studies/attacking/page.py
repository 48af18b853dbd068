"""The sections of the page of `adversarial`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from invkit.core import Estimate
from invkit.data import evenly_spaced
from invkit.explanation import Explanation
from invkit.report import Picture, Section, Table, curves
from invkit.studies.attacking.changes import Changes
from invkit.studies.attacking.decisions import Decisions
from invkit.studies.attacking.trial import Trial
from invkit.studies.side_by_side import side_by_side

__all__ = ["BEFORE", "pictures_sections", "where_section"]

#: name of the row of the judge's readings of clean images
BEFORE = "the images before the attack"

_SHOWN, _COLUMNS = 3, 4


def where_section(found: Mapping[str, Changes], read: Mapping[str, Mapping[str, Estimate]], about: str) -> Section:
    """Return curves and a table over layers."""
    layers = list(found)
    quantities = list(next(iter(found.values())).distances)

    def series(names: Sequence[str]) -> dict[str, list[Estimate]]:
        wanted = [(name, cause) for name in names for cause in ("attack", "noise")]
        return {f"{n}, {c}": [each.estimate(n, c) for each in found.values()] for n, c in wanted}

    ylabel = "change relative to\nanother image"
    pictures = [
        Picture(
            curves(layers, series(["representation", "samples"]), "layer", ylabel),
            "How far an attack, and random noise of the same size, move a layer's representation (distance) and its "
            "samples at the same v (squared distance), relative to another image: 0 is no change, 1 the change to "
            "another image. Bands: one standard error.",
        )
    ]
    if len(quantities) > 2:
        pictures.append(
            Picture(
                curves(layers, series(quantities[2:]), "layer", ylabel),
                "The same for each concept: the squared change in the concept's factor of e alone.",
            )
        )
    tables = [
        Table(
            ["layer", *(f"{n}, {c}" for n in quantities for c in ("attack", "noise"))],
            [[layer, *(str(each.estimate(n, c)) for n in quantities for c in ("attack", "noise"))]
             for layer, each in found.items()],
        )
    ]  # fmt: skip
    if read:
        names = list(next(iter(read.values())))
        rows = [[where, *(str(shares[name]) for name in names)] for where, shares in read.items()]
        tables.append(Table(["read by an independent judge, from samples of attacked images given", *names], rows))
        points = {name: [shares[name] for shares in read.values()] for name in names}
        pictures.append(
            Picture(
                curves(list(read), points, "layer", "share of samples"),
                "Readings of an independent judge: of samples given an attacked image's representation; at the left, "
                "of the clean images.",
            )
        )
    return Section("Where along the layers", about, pictures, tables)


def pictures_sections(trial: Trial, explanations: Mapping[str, Explanation], decisions: Decisions) -> list[Section]:
    """Show some images, the attacked ones, and samples of both at each layer."""
    pictures = []
    few = trial.take(evenly_spaced(len(trial), _SHOWN))
    drawn = {
        layer: [each.sample_from(each.represent(x), _COLUMNS) for x in (few.clean, few.attacked)]
        for layer, each in explanations.items()
    }
    for k in range(len(few)):
        x, attacked = few.clean[k], few.attacked[k]
        difference = (0.5 + 10 * (attacked - x)).clamp(0, 1)
        truth, decided = (decisions.name(int(value[k])) for value in (few.truth, few.decided))
        before, after = (
            torch.stack([torch.cat([own[None], samples[which][k]]) for samples in drawn.values()])
            for which, own in enumerate((x, attacked))
        )
        panels = {
            f"x ('{truth}'), then samples": before,
            f"attacked x ('{decided}'), then samples": after,
            "change × 10": difference.expand(len(drawn), 1, *x.shape),
        }
        caption = (
            f"Left: an image that the network classifies as '{truth}', and samples given each layer's representation "
            f"of it. Middle: the attacked image, classified as '{decided}'; samples in the same position share v. "
            "Right: the attack's change of x, times ten, on grey. If a sample at the left and the one in the same "
            "position in the middle look the same, the layer does not see the attack."
        )
        pictures.append(Picture(side_by_side(list(drawn), panels), caption))
    return [Section("What the layers show", "", pictures)]

"""The page of a study of attacks."""

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

#: what the judge reads beside the samples of layers
BEFORE = "the images before the attack"

_SHOWN, _COLUMNS = 3, 4


def where_section(found: Mapping[str, Changes], read: Mapping[str, Mapping[str, Estimate]], about: str) -> Section:
    """Curves and a table over layers."""
    layers = list(found)
    quantities = list(next(iter(found.values())).distances)

    def series(names: Sequence[str]) -> dict[str, list[Estimate]]:
        wanted = [(name, cause) for name in names for cause in ("attack", "noise")]
        return {f"{n}, {c}": [each.estimate(n, c) for each in found.values()] for n, c in wanted}

    ylabel = "change, as a share of that\nto another image"
    pictures = [
        Picture(
            curves(layers, series(["representation", "samples"]), "layer", ylabel),
            "How far an attack, and random noise of the same size, move a layer's representation (length of the way) "
            "and the samples that it gives at the same v (its square), as a share of how far another image would move "
            "them: 0 is no change, 1 is as if another image had been shown. Bands: one standard error.",
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
                "What an independent judge reads from samples given an attacked image's representation; at the left, "
                "from the images as they were.",
            )
        )
    return Section("Where along the layers", about, pictures, tables)


def pictures_sections(trial: Trial, explanations: Mapping[str, Explanation], decisions: Decisions) -> list[Section]:
    """For a few images: the image, the attacked one, and samples of both at each layer."""
    pictures = []
    few = trial.take(evenly_spaced(len(trial), _SHOWN))
    drawn = {
        layer: [each.sample_from(each.represent(x), _COLUMNS) for x in (few.clean, few.attacked)]
        for layer, each in explanations.items()
    }
    for k in range(len(few)):
        x, attacked = few.clean[k], few.attacked[k]
        told = (0.5 + 10 * (attacked - x)).clamp(0, 1)
        truth, decided = (decisions.name(int(value[k])) for value in (few.truth, few.decided))
        before, after = (
            torch.stack([torch.cat([own[None], samples[which][k]]) for samples in drawn.values()])
            for which, own in enumerate((x, attacked))
        )
        panels = {
            f"x ('{truth}'), then samples": before,
            f"attacked x ('{decided}'), then samples": after,
            "change × 10": told.expand(len(drawn), 1, *x.shape),
        }
        caption = (
            f"Left: an image that the network takes for '{truth}', and samples given each layer's representation of "
            f"it. Middle: the same image attacked, which it takes for '{decided}'; samples in the same place share v. "
            "Right: the attack's change of x, ten times as large, on grey. Where a sample at the left and one at the "
            "same place in the middle are alike, the layer does not see the attack."
        )
        pictures.append(Picture(side_by_side(list(drawn), panels), caption))
    return [Section("What the layers show", "", pictures)]

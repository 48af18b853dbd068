"""Page of the study of edits: method, rates of change, images before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from invkit.core import Estimate
from invkit.data import ImageSet, evenly_spaced
from invkit.report import Picture, Section, Table
from invkit.studies.editing.edits import Edited, Editor, Fit
from invkit.studies.side_by_side import side_by_side

__all__ = ["how_section", "pictures_section", "rates_section"]

_SHOWN, _COLUMNS = 3, 8


def how_section(ways: Sequence[str]) -> Section:
    """Explain how images are edited and judged, for readers who do not know the paper."""
    texts = {
        "invkit": "invkit splits an image's code into one factor for each concept and a residual, replaces a factor "
        "by the donor's, and decodes the result; it uses no labels.",
        "attribute arithmetic": "Attribute arithmetic adds the mean code of the donor's value to the code and "
        "subtracts that of the image's own value; it uses both labels.",
        "StarGAN": "StarGAN is a generative adversarial network that redraws an image with a given class.",
    }
    return Section(
        "Method",
        "One concept of each held-out image is replaced by that of another held-out image, its donor; all else should "
        f"stay. {' '.join(texts[way] for way in ways)} Independent networks judge the edits: one reads all concepts "
        "from the image before and after; in the features of another, the Fréchet distance compares all edited images "
        "with the held-out ones, and 0 is best.",
    )


def rates_section(
    text: str, found: Mapping[str, Mapping[str, Edited]], distances: Mapping[str, Mapping[str, Estimate]]
) -> Section:
    """Return a table of how often a swap of each concept changed each, and Fréchet distances of edited images."""
    names = list(next(iter(next(iter(found.values())).values())).changed)
    rows = [
        [
            swapped,
            way,
            f"{each.rate(swapped).n} of {len(each.rows)}",
            str(each.rate(swapped)),
            str(each.kept(swapped) or ""),
            *(str(each.rate(name)) for name in names),
            str(distances[way][swapped]),
        ]
        for swapped in names
        for way, own in found.items()
        for each in ([own[swapped]] if swapped in own else [])
    ]
    judged = ["it changed", "others stayed", *(f"{n} changed" for n in names)]
    header = ["swapped", "", "pairs", *judged, "Fréchet distance"]
    known = Table(
        ["not edited, as many images", "Fréchet distance"], [[n, str(d)] for n, d in distances["unedited"].items()]
    )
    explained = (
        "Shares of the pairs of image and donor that the judge distinguishes, ± one standard error. A swapped class "
        "changed if the judge reads the donor's, another class if it reads any other than before, a number or a colour "
        "if it is nearer to the donor's than to its own. "
    )
    return Section("How often each concept changes", explained + text, (), [Table(header, rows), known])


@torch.no_grad()
def pictures_section(data: ImageSet, ways: Mapping[str, Editor], fit: Fit | None) -> Section:
    """Return pictures of edits of each concept, invkit's above those of the baselines."""
    pictures = []
    for concept in next(iter(ways.values())).concepts:
        able = {way: editor for way, editor in ways.items() if concept in editor.concepts}
        rows, donors = _shown(data, concept, fit)
        blank, theirs = torch.ones(1, 1, *data.pixels.shape[1:]), data.images(donors)[None]
        own, edited, names = [blank], [theirs], [f"donor of the {concept}"]
        for row in rows:
            for way, editor in able.items():
                own.append(data.images(row[None])[None])
                edited.append(editor.edit(row.expand(len(donors)), donors, concept)[None])
                names.append(way)
        caption = (
            f"Top: donors. Below, for each image x at the left: x with the {concept} of the donor above, by "
            f"{' and, under it, by '.join(able)}. All else of x should stay."
        )
        panels = {"x": torch.cat(own), f"x with the donor's {concept}": torch.cat(edited)}
        pictures.append(Picture(side_by_side(names, panels), caption))
    return Section("Images before and after", "", pictures)


def _shown(data: ImageSet, concept: str, fit: Fit | None) -> tuple[Tensor, Tensor]:
    """Choose images, and donors that fit all of them, or as many of them as possible."""
    rows, values = evenly_spaced(len(data), _SHOWN + 2)[1:-1], data.concepts[concept].values
    every = torch.arange(len(data))
    fits = torch.zeros(len(data))
    for row in rows:
        usable = every != row
        if data.concepts[concept].kind == "class":
            usable &= values != values[row]
        if fit is not None:
            usable &= fit(data, row.expand(len(data)), every)
        fits += usable
    able = (fits == fits.max()).nonzero().flatten()
    if data.concepts[concept].kind != "class":
        return rows, able[evenly_spaced(len(able), _COLUMNS)]
    same = values[able][:, None] == values[able]
    turn = same.tril(-1).sum(1)  # number of earlier ones of its class: one of each class first
    chosen = able[(turn * data.concepts[concept].classes + values[able]).argsort()[:_COLUMNS]]
    return rows, chosen[values[chosen].argsort()]

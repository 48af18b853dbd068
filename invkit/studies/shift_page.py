"""Page of the study of domain shift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from invkit.core import Estimate, Interpretee
from invkit.data import ImageSet, evenly_spaced
from invkit.errors import LayerError
from invkit.explanation import Explanation
from invkit.explanation.sections import metrics_table
from invkit.report import Picture, Section, Table, curves
from invkit.studies.attacking.decisions import decide_all
from invkit.studies.side_by_side import side_by_side

__all__ = ["Domain", "Kept", "decisions_sections", "layers_section", "numbers_section"]

#: explanations of one domain, by layer
Domain = Mapping[str, Explanation]
#: how much nearer samples are to their own image than to others, by layer and space
Kept = Mapping[str, Mapping[str, Estimate]]

_SHOWN, _COLUMNS = 3, 3


def numbers_section(found: Mapping[str, Domain], shares: Mapping[str, Kept]) -> Section:
    """Return curves of both domains over layers, and a table of each."""
    layers = list(found["foreign"])
    whole = {f"invariance, {name}": [each.invariance() for each in domain.values()] for name, domain in found.items()}
    whole |= {f"appearance kept, {name}": [of["appearance"] for of in kept.values()] for name, kept in shares.items()}
    concepts = {
        f"{what}, {name}": [of[what] for of in kept.values()]
        for name, kept in shares.items()
        for what in list(next(iter(kept.values())))[1:]
    }
    caption = (
        "Invariance (eq. 19): share of the variance of the image code that a layer leaves open. Appearance kept: how "
        "much nearer the codes of samples are to their own image than to other images, 0 for not at all and 1 for the "
        "image itself. Bands: one standard error."
    )
    pictures = [Picture(curves(layers, whole, "layer", "share"), caption)]
    if concepts:
        caption = "How much nearer samples are to their own image than to others in each concept's factor of e."
        pictures.append(Picture(curves(layers, concepts, "layer", "share kept"), caption))
    tables = []
    for name, domain in found.items():
        header, rows = metrics_table(dict(domain))
        rows += [
            [f"{what} kept by samples", *(str(of[what]) for of in shares[name].values())]
            for what in next(iter(shares[name].values()))
        ]
        tables.append(Table([f"{name} images", *header[1:]], rows))
    return Section("What the layers keep", "", pictures, tables)


def layers_section(name: str, domain: Domain) -> Section:
    """Return samples of each layer for some held-out images."""
    data = next(iter(domain.values())).held_out.data
    images = data.images(evenly_spaced(len(data), _SHOWN + 2)[1:-1])
    drawn = [each.sample_from(each.represent(images), _COLUMNS) for each in domain.values()]
    panels = {
        f"x, then samples ({k + 1})": torch.stack([torch.cat([x[None], samples[k]]) for samples in drawn])
        for k, x in enumerate(images)
    }
    caption = (
        f"Images of the {name} domain, each at the left of a panel, then for each layer images that the layer "
        "cannot tell from it. Samples in the same column share v."
    )
    return Section(f"Samples for {name} images", "", [Picture(side_by_side(list(domain), panels), caption)])


def decisions_sections(interpretee: Interpretee, data: ImageSet, concept: str) -> list[Section]:
    """Return a table of the network's most frequent decision on each foreign class; [] if it has no class scores."""
    if not _decides(interpretee, data):
        return []
    data = data.take(evenly_spaced(len(data), 1000))
    decided = decide_all(interpretee, data)
    known = data.concepts.get(concept)
    classes = known.values if known is not None and known.kind == "class" else torch.zeros_like(decided)
    names = interpretee.categories
    rows = []
    for number in classes.unique().tolist():
        counts = decided[classes == number].bincount()
        best = int(counts.argmax())
        own = "all" if known is None or known.kind != "class" else _named(known.names, number)
        rows.append([own, _named(names, best), f"{counts[best] / counts.sum():.2f}", str(int(counts.sum()))])
    header = ["foreign class", "most frequent decision", "share", "images"]
    return [Section("Decisions of the network", "", (), [Table(header, rows)])]


def _decides(interpretee: Interpretee, data: ImageSet) -> bool:
    """Test on one image whether the network returns scores of two or more classes."""
    try:
        return interpretee.is_decision(interpretee.decide(data.images(slice(1))))
    except LayerError:
        return False


def _named(names: Sequence[str], number: int) -> str:
    return names[number] if number < len(names) else str(number)

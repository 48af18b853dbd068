"""Texture bias (paper, sec. 4.3, fig. S12): does a network keep the shape of a thing, or its texture?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from invkit.core import Estimate, Interpretee
from invkit.data import Generated, ImageSet, as_image_set, evenly_spaced
from invkit.errors import DataError, SettingsError
from invkit.explainer import Explainer, as_explainer, find_layers
from invkit.explanation import Explanation
from invkit.explanation.sections import closing_sections
from invkit.interpretees import as_interpretee
from invkit.report import Picture, Section, Table, curves
from invkit.studies.side_by_side import side_by_side
from invkit.studies.study import Study, shows
from invkit.studies.stylise import cue_conflict
from invkit.studies.subjects import explain_layers

__all__ = ["texture"]

_CLAIM = (
    "A network trained on stylised images keeps shape before texture more than its twin that was trained on the images "
    "as they are (sec. 4.3, fig. S12)."
)
_SHOWN, _COLUMNS = 6, 4

Shares = Mapping[str, Mapping[str, Estimate]]  # of a layer, by measure and concept


def texture(
    explainer: Explainer | Any,
    models: Mapping[str, str | nn.Module | Interpretee],
    layers: str | nn.Module | Sequence[str | nn.Module],
    *,
    shape: str = "shape",
    texture: str = "texture",
    cues: str | None = None,
    strength: float = 1.0,
    probes: Any = None,
    preprocess: Callable[[Tensor], Tensor] | None = None,
) -> Study:
    """Compare how much of shape and of texture two networks keep (paper, sec. 4.3).

    With a decoder as (D, p(z̄)), such as BigGAN's, `data` are the images that it makes. They may lack the concepts;
    then the study shows invariances and samples, and gives no verdict.

    Args:
        explainer: an :class:`invkit.Explainer`, its folder, or images to make one of with default settings.
        models: two, by name: the one trained on images as they are, then its stylised-trained twin.
        layers: addresses or globs that both have, from early to late.
        data: images with the concepts `shape` and `texture`, such as :func:`cue_conflict` makes.
        shape: name of that concept.
        texture: name of that concept.
        cues: name of classes, of which cue conflicts are made here; held-out images and their styles are apart from
            those to train on.
        strength: of their styles, as of :func:`stylised`.
        probes: other images to show samples for: textures, sketches, cartoons.
        preprocess: for both models.

    Raises:
        SettingsError: not two models.
        DataError: one of the concepts without the other.
        InvkitError: as :func:`invkit.profile`.
    """
    if len(models) != 2:
        raise SettingsError(
            "Two networks are compared", expected="{plain: model, stylised: model}", got=f"{len(models)} models"
        )
    interpretees = {name: as_interpretee(model, preprocess) for name, model in models.items()}
    addresses = {name: find_layers(each, layers) for name, each in interpretees.items()}
    explainer = as_explainer(explainer)
    explainer.check([(each, addresses[name]) for name, each in interpretees.items()])
    if cues is not None:
        explainer = _in_conflict(explainer, cues, strength)
    present = _present(explainer.train, shape, texture)
    shown = None if probes is None else as_image_set(probes, size=explainer.train.size)
    found = {name: explain_layers(explainer, each, addresses[name], name) for name, each in interpretees.items()}
    shares = {name: {layer: _shares(each) for layer, each in per.items()} for name, per in found.items()}
    headline, holds = _judged(shares, shape, texture) if present else (_invariances(found), None)
    sections = [_kept(found, shares, shape, texture, present), *_samples(found, shown)]
    metrics = {name: {layer: each.metrics for layer, each in per.items()} for name, per in found.items()}
    closing = closing_sections({f"{name} {layer}": each for name, per in found.items() for layer, each in per.items()})
    return Study("texture", "Shape or texture", _CLAIM, headline, holds, metrics, [*sections, *closing])


def _in_conflict(explainer: Explainer, cues: str, strength: float) -> Explainer:
    """Return an Explainer of cue conflicts; no style of a held-out image is one of a training image."""
    parts = enumerate((explainer.train, explainer.held_out))
    train, test = (cue_conflict(part, explainer.seed + k, concept=cues, strength=strength) for k, part in parts)
    return explainer.replace(train=train, held_out=test)


def _present(images: ImageSet, shape: str, texture: str) -> bool:
    """Whether the images have both concepts."""
    missing = [name for name in (shape, texture) if name not in images.concepts]
    if len(missing) == 1 or (missing and not isinstance(images.pixels, Generated)):
        raise DataError(
            f"The images have no concept {' and '.join(map(repr, missing))}",
            expected=f"'{shape}' and '{texture}'",
            got=", ".join(images.concepts) or "no labels",
            hint="invkit.studies.cue_conflict(images) makes such images of classes; or pass cues='class'.",
        )
    return not missing


def _shares(explanation: Explanation) -> Shares:
    """Return each concept's shares by measure."""
    probes = {name: Estimate(**share) for name, share in explanation.metrics.get("probe", {}).items()}
    return {"eq. 20": explanation.concepts(), "determined": explanation.determined(), "probe": probes}


def _judged(
    shares: Mapping[str, Mapping[str, Shares]], shape: str, texture: str
) -> tuple[dict[str, Estimate], bool | None]:
    """Return shape − texture of both networks at their last layers, and the difference, by each measure."""
    headline: dict[str, Estimate] = {}
    last = {name: list(per.values())[-1] for name, per in shares.items()}
    for measure in ("eq. 20", "determined", "probe"):
        plain, other = (
            of[measure][shape] - of[measure][texture] for of in last.values()
        )  # fmt: skip
        for name, value in zip(last, (plain, other), strict=True):
            headline[f"shape − texture, {name} ({measure})"] = value
        headline[f"{' − '.join(reversed(list(last)))} ({measure})"] = other - plain
    difference = headline[f"{' − '.join(reversed(list(last)))} (eq. 20)"]
    return headline, shows(difference)


def _invariances(found: Mapping[str, Mapping[str, Explanation]]) -> dict[str, Estimate]:
    return {f"invariance at the last layer, {name}": list(per.values())[-1].invariance() for name, per in found.items()}


def _kept(
    found: Mapping[str, Mapping[str, Explanation]],
    shares: Mapping[str, Mapping[str, Shares]],
    shape: str,
    texture: str,
    present: bool,
) -> Section:
    """Curves and a table of what both networks keep."""
    layers = list(next(iter(found.values())))
    pictures, rows = [], []
    if present:
        for measure, meaning in (
            ("eq. 20", "Share of the concept's variance that the layer explains at fixed v (eq. 20)."),
            ("determined", "Share of the concept's variance that the layer alone determines, whatever v."),
        ):
            series = {
                f"{concept}, {name}": [of[measure][concept] for of in per.values()]
                for name, per in shares.items()
                for concept in (shape, texture)
            }
            caption = f"{meaning} Both networks, on the same images. Bands: one standard error."
            pictures.append(Picture(curves(layers, series, "layer"), caption))
    for name, per in found.items():
        for layer, explanation in per.items():
            told = [of[c] for of in shares[name][layer].values() for c in (shape, texture)] if present else []
            rows.append([name, layer, str(explanation.invariance()), *map(str, told)])
    header = [f"{concept} ({m})" for m in ("eq. 20", "determined", "probe R²") for concept in (shape, texture)]
    table = Table(["network", "layer", "invariance", *(header if present else ())], rows)
    text = (
        "The images have the shape of one class and the texture of another, drawn independently. The errors of "
        "differences take the two metrics for independent; both networks saw the same held-out images."
        if present
        else ""
    )
    return Section("What the networks keep", text, pictures, [table])


def _samples(found: Mapping[str, Mapping[str, Explanation]], probes: ImageSet | None) -> list[Section]:
    """Samples of both networks at their last layers, for held-out images and for others."""
    last = {name: list(per.values())[-1] for name, per in found.items()}
    held_out = next(iter(last.values())).held_out.data
    sections = [_sheet("Samples for held-out images", last, held_out)]
    if probes is not None:
        sections.append(_sheet("Samples for other images", last, probes))
    return sections


def _sheet(title: str, last: Mapping[str, Explanation], data: ImageSet) -> Section:
    images = data.images(evenly_spaced(len(data), _SHOWN))
    drawn = {name: each.sample_from(each.represent(images), _COLUMNS) for name, each in last.items()}
    panels = {"x": images[:, None], **{f"samples, {name}": samples for name, samples in drawn.items()}}
    caption = (
        "Left: images. Then, for each network, images that its last layer cannot tell from the one at the left; "
        "samples in the same column share v. What all samples of a row share is what the network keeps: outlines and "
        "parts, or colours and patterns."
    )
    return Section(title, "", [Picture(side_by_side([""] * len(images), panels), caption)])

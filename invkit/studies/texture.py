"""Texture bias (paper, sec. 4.3, fig. S12): does a network represent an object's shape, or its texture?"""

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
    "A network trained on stylised images keeps more of shape, relative to texture, than its twin that was trained on "
    "the original images (sec. 4.3, fig. S12)."
)
_SHOWN, _COLUMNS = 6, 4

Shares = Mapping[str, Mapping[str, Estimate]]  # of a layer, by measure and concept


def texture(
    explainer: Explainer | Any,
    models: Mapping[str, str | nn.Module | Interpretee],
    layers: str | nn.Module | Sequence[str | nn.Module],
    *,
    concepts: tuple[str, str] = ("shape", "texture"),
    cues: str | None = None,
    strength: float = 1.0,
    probes: Any = None,
    preprocess: Callable[[Tensor], Tensor] | None = None,
) -> Study:
    """Compare how much of shape and of texture two networks keep (paper, sec. 4.3).

    Images that a generator such as BigGAN made may lack the concepts; then the study shows invariances and samples,
    without a verdict.

    Args:
        explainer: an :class:`invkit.Explainer` of images with the concepts `shape` and `texture`, such as
            :func:`cue_conflict` makes; its folder, or images to make one of with default settings.
        models: two models by name: the one trained on original images, then its stylised-trained twin.
        layers: addresses or globs that both have, from early to late.
        concepts: names of the concepts of shape and of texture.
        cues: name of classes of which to make cue conflicts; held-out images share no style with training images.
        strength: strength of these styles, as in :func:`stylised`.
        probes: other images to show samples for: textures, sketches, cartoons.
        preprocess: for both models, from images in [0, 1] to their input.

    Raises:
        SettingsError: not two models, or a strength out of range.
        DataError: images without the concepts, or without classes called `cues`.
        InvkitError: as :func:`invkit.profile`.

    Example:
        >>> twins = {"plain": network, "stylised": network}
        >>> study = invkit.studies.texture(explainer, twins, "2", concepts=("digit", "background"))
        >>> study.headline["stylised − plain (eq. 20)"].value
        0.0
    """
    if len(models) != 2:
        raise SettingsError(
            "Two networks are to be compared", expected="{plain: model, stylised: model}", got=f"{len(models)} models"
        )
    interpretees = {name: as_interpretee(model, preprocess) for name, model in models.items()}
    addresses = {name: find_layers(each, layers) for name, each in interpretees.items()}
    explainer = as_explainer(explainer)
    explainer.check([(each, addresses[name]) for name, each in interpretees.items()])
    if cues is not None:
        explainer = _in_conflict(explainer, cues, strength)
    present = _present(explainer.train, concepts)
    shown = None if probes is None else as_image_set(probes, size=explainer.train.size)
    found = {name: explain_layers(explainer, each, addresses[name], name) for name, each in interpretees.items()}
    shares = {name: {layer: _shares(each) for layer, each in per.items()} for name, per in found.items()}
    headline, holds = _judged(shares, concepts) if present else (_invariances(found), None)
    sections = [_kept(found, shares, concepts if present else ()), *_samples(found, shown)]
    metrics = {name: {layer: each.metrics for layer, each in per.items()} for name, per in found.items()}
    closing = closing_sections({f"{name} {layer}": each for name, per in found.items() for layer, each in per.items()})
    return Study("texture", "Shape or texture", _CLAIM, headline, holds, metrics, [*sections, *closing])


def _in_conflict(explainer: Explainer, cues: str, strength: float) -> Explainer:
    """Return an Explainer of cue conflicts; held-out images share no style with training images."""
    parts = enumerate((explainer.train, explainer.held_out))
    train, test = (cue_conflict(part, explainer.seed + k, concept=cues, strength=strength) for k, part in parts)
    return explainer.replace(train=train, held_out=test)


def _present(images: ImageSet, concepts: tuple[str, str]) -> bool:
    """Return whether the images have both concepts; only generated images may lack them.

    Raises:
        DataError: one of the concepts is missing, or both of images that are not generated.
    """
    missing = [name for name in concepts if name not in images.concepts]
    if len(missing) == 1 or (missing and not isinstance(images.pixels, Generated)):
        raise DataError(
            f"The images have no concept {' and '.join(map(repr, missing))}",
            expected=" and ".join(map(repr, concepts)),
            got=", ".join(images.concepts) or "no labels",
            hint="Pass cues='class', or images of invkit.studies.cue_conflict(images).",
        )
    return not missing


def _shares(explanation: Explanation) -> Shares:
    """Return the share of each concept by measure."""
    probes = {name: Estimate(**share) for name, share in explanation.metrics.get("probe", {}).items()}
    return {"eq. 20": explanation.concepts(), "determined": explanation.determined(), "probe": probes}


def _judged(
    shares: Mapping[str, Mapping[str, Shares]], concepts: tuple[str, str]
) -> tuple[dict[str, Estimate], bool | None]:
    """Return shape − texture of both networks at their last layers, and the difference, by each measure."""
    headline: dict[str, Estimate] = {}
    shape, texture = concepts
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
    concepts: Sequence[str],
) -> Section:
    """Return curves and a table of what both networks keep of the concepts, if any."""
    layers = list(next(iter(found.values())))
    pictures, rows = [], []
    if concepts:
        for measure, meaning in (
            ("eq. 20", "Share of the concept's variance that the layer explains at fixed v (eq. 20)."),
            ("determined", "Share of the concept's variance that the layer determines for any v."),
        ):
            series = {
                f"{concept}, {name}": [of[measure][concept] for of in per.values()]
                for name, per in shares.items()
                for concept in concepts
            }
            caption = f"{meaning} Both networks, on the same images. Bands: one standard error."
            pictures.append(Picture(curves(layers, series, "layer"), caption))
    for name, per in found.items():
        for layer, explanation in per.items():
            own = [of[concept] for of in shares[name][layer].values() for concept in concepts]
            rows.append([name, layer, str(explanation.invariance()), *map(str, own)])
    header = [f"{concept} ({m})" for m in ("eq. 20", "determined", "probe R²") for concept in concepts]
    table = Table(["network", "layer", "invariance", *header], rows)
    text = (
        "The images have the shape of one class and the texture of another, drawn independently. The errors of "
        "differences assume that the two metrics are independent; both networks saw the same held-out images."
        if concepts
        else ""
    )
    return Section("What the networks keep", text, pictures, [table])


def _samples(found: Mapping[str, Mapping[str, Explanation]], probes: ImageSet | None) -> list[Section]:
    """Return samples of both networks at their last layers, for held-out images and for others."""
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
        "Left: images. Then, for each network, samples given its last layer's representation of the image; samples in "
        "the same column share v. What all samples of a row share is what the network keeps: outlines and parts, or "
        "colours and patterns."
    )
    return Section(title, "", [Picture(side_by_side([""] * len(images), panels), caption)])

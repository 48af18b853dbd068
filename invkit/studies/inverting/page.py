"""The page of a comparison: what is compared, distances over layers, images side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure
from torch import Tensor

from invkit.core import Estimate
from invkit.report import Picture, Section, Table, curves
from invkit.studies.side_by_side import side_by_side

__all__ = ["Inverted", "distances_section", "how_section", "picture_sections"]


@dataclass(frozen=True)
class Inverted:
    """What one layer gives: metrics by way of inversion and name, and a sheet of images."""

    metrics: Mapping[str, Mapping[str, Estimate]]
    sheet: Mapping[str, Tensor]


def how_section() -> Section:
    """Say what is compared, for one who has not read the paper."""
    return Section(
        "What is compared",
        "Each held-out image is shown to the network, and its representation at a layer is turned back into an image "
        "in two ways. A regressing decoder, trained to give the image back from the representation, gives one image. "
        "invkit draws one of the many images that have this representation. An image made well is (1) like an image of "
        "the data, which the Fréchet and the kernel distance measure: both compare the features, as an independent "
        "network sees them, of all images made with those of the held-out ones, and 0 is best; and (2) true to the "
        "layer: sent through the network again it has the representation that it was made from, which the "
        "inconsistency measures: 0 is a layer that sees no difference, 1 is as far off as any other image.",
    )


def distances_section(found: Mapping[str, Inverted], known: Mapping[str, Mapping[str, Estimate]]) -> Section:
    """Return curves and a table over layers; `known` is what no layer changes."""
    layers, first = list(found), next(iter(found.values())).metrics
    names = list(dict.fromkeys(name for metrics in first.values() for name in metrics))
    pictures = []
    for name in names:
        series = {way: [each.metrics[way][name] for each in found.values()]
                  for way, own in first.items() if name in own}  # fmt: skip
        series |= {way: [own[name]] * len(layers) for way, own in known.items() if name in own}
        figure = curves(layers, series, "layer", name)
        if name == "Fréchet distance":
            _logarithmic(figure)
        pictures.append(Picture(figure, _CAPTIONS[name]))
    rows = [[layer, way, *(str(own.get(name, "")) for name in names)]
            for layer, each in found.items() for way, own in each.metrics.items()]  # fmt: skip
    rows += [["any", way, *(str(own.get(name, "")) for name in names)] for way, own in known.items()]
    return Section("How like the data, how true to the layer", "", pictures, [Table(["layer", "", *names], rows)])


def _logarithmic(figure: Figure) -> None:
    ax = figure.axes[0]
    ax.set_yscale("log")
    ax.relim()
    ax.autoscale(axis="y")


_CAPTIONS = {
    "Fréchet distance": "Fréchet distance of images made to held-out images; lower is better; the axis is logarithmic. "
    "The line of other images is what as many images of the training set have (a network that was trained here to read "
    "the concepts knows them), that of reconstructions what the decoder costs. "
    "Bands: one standard error.",
    "kernel distance": "Kernel distance of the same images, which has no bias from their number; lower is better.",
    "inconsistency": "Inconsistency: squared distance of the made image's representation to the one it was made from, "
    "as a share of that between different images; lower is better. Reconstructions know the whole image, not only what "
    "the layer keeps of it: their inconsistency is the autoencoder's own.",
}


def picture_sections(found: Mapping[str, Inverted]) -> list[Section]:
    """Lay images side by side, a section for each layer."""
    caption = (
        "A held-out image a row. x: the image. D(E(x)): what the autoencoder alone makes of it. Regressed: what the "
        "decoder of Dosovitskiy & Brox makes of the layer's representation, what the layer threw away averaged. "
    )
    descent = "Descent: pixels moved until they have that representation. "
    end = "invkit's samples: images drawn given the representation; what changes along the row the layer threw away."
    pictures = []
    for layer, each in found.items():
        told = caption + (descent if "descent" in each.sheet else "") + end
        count = len(each.sheet["x"])
        figure = side_by_side([""] * count, each.sheet)
        pictures.append(Section(f"Images from '{layer}'", "", [Picture(figure, told)]))
    return pictures

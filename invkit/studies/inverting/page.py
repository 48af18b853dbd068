"""The sections of the page of `comparison`."""

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
    """The result for one layer: metrics by way of inversion and name, and panels of images by title."""

    metrics: Mapping[str, Mapping[str, Estimate]]
    sheet: Mapping[str, Tensor]


def how_section() -> Section:
    """Explain the comparison to readers who do not know the paper."""
    return Section(
        "What is compared",
        "Each held-out image is shown to the network, and its representation at a layer is turned back into an image "
        "in two ways. A regressing decoder, trained to reconstruct the image from its representation, predicts one "
        "image. invkit samples one of the many images that have this representation. A good image is (1) like an image "
        "of the data, which the Fréchet and the kernel distance measure: both compare features of all images made, by "
        "an independent network, with those of the held-out images; 0 is best; and (2) consistent with the layer: the "
        "network maps it to the representation that it was made from, which the inconsistency measures: 0 is the same "
        "representation, 1 that of any other image.",
    )


def distances_section(found: Mapping[str, Inverted], known: Mapping[str, Mapping[str, Estimate]]) -> Section:
    """Return curves and a table over layers; `known` are the metrics that do not depend on the layer."""
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
    "Fréchet distance": "Fréchet distance between images made and held-out images; lower is better; logarithmic axis. "
    "The line of other images is that of as many training images (which a network that was trained here to read the "
    "concepts has seen), that of reconstructions the cost of the decoder. Bands: one standard error.",
    "kernel distance": "Kernel distance of the same images; it is unbiased in their number; lower is better.",
    "inconsistency": "Inconsistency: squared distance of the made image's representation to the one it was made from, "
    "relative to that between different images; lower is better. Reconstructions are made from the whole image, not "
    "from the layer: their inconsistency is that of the autoencoder.",
}


def picture_sections(found: Mapping[str, Inverted]) -> list[Section]:
    """Return images side by side, a section for each layer."""
    caption = (
        "One held-out image per row. x: the image. D(E(x)): its reconstruction. Regressed: the prediction of "
        "Dosovitskiy & Brox's decoder from the layer's representation, which averages what the layer discards. "
    )
    descent = "Descent: pixels optimised towards that representation. "
    end = "invkit's samples: images drawn given the representation; what varies along the row the layer discards."
    pictures = []
    for layer, each in found.items():
        text = caption + (descent if "descent" in each.sheet else "") + end
        count = len(each.sheet["x"])
        figure = side_by_side([""] * count, each.sheet)
        pictures.append(Section(f"Images from '{layer}'", "", [Picture(figure, text)]))
    return pictures

"""Heatmaps over images."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from invkit.report.figures import image_grid

__all__ = ["Heatmap", "heatmap_sheet"]

_SIGNED, _POSITIVE = "RdBu_r", "YlOrRd"
_TILE, _BAR, _TITLE = 1.5, 0.75, 0.55  # inches
_BRIGHTEST = 0.995  # quantile of full colour, so that one outlier does not fade all other pixels


@dataclass(frozen=True)
class Heatmap:
    """A column of maps, one per image.

    Attributes:
        title: above the column.
        values: (B, S, S).
        unit: label of the colour bar.
        signed: whether values are signed: red above and blue below zero, otherwise one colour from zero upwards.

    Example:
        >>> heatmap = Heatmap("occlusion", torch.randn(2, 8, 8), "distance")
        >>> heatmap.over(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 3, 8, 8])
    """

    title: str
    values: Tensor
    unit: str
    signed: bool = True

    @property
    def limit(self) -> float:
        """The value shown in full colour, common to all rows."""
        return float(self.values.abs().flatten().float().quantile(_BRIGHTEST)) or 1.0

    @property
    def scale(self) -> ScalarMappable:
        """The mapping from values to colours."""
        low = -self.limit if self.signed else 0.0
        return ScalarMappable(Normalize(low, self.limit, clip=True), colormaps[_SIGNED if self.signed else _POSITIVE])

    def over(self, images: Tensor) -> Tensor:
        """Overlay the maps on images (B, 3, S, S) in pale grey; larger values are more opaque.

        Returns:
            (B, 3, S, S) in [0, 1].
        """
        values = self.values.detach().cpu().float()
        colours = np.asarray(self.scale.cmap(self.scale.norm(values.numpy())))[..., :3]
        grey = 0.45 + 0.55 * images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
        opacity = (values.abs() / self.limit).clamp(0, 1).sqrt()[:, None]
        return torch.lerp(grey, torch.from_numpy(colours).to(grey).movedim(-1, 1), opacity)


def heatmap_sheet(images: Tensor, maps: Sequence[Heatmap], caption: str = "") -> Figure:
    """Draw images and their maps, one row per image; a column has one colour scale.

    Args:
        images: (B, 3, S, S) in [0, 1].
        maps: columns, from the left.
        caption: below the maps.

    Example:
        >>> maps = [Heatmap("occlusion", torch.randn(2, 8, 8), "distance")]
        >>> len(heatmap_sheet(torch.rand(2, 3, 8, 8), maps).axes)  # images, maps, colour bar
        3
    """
    columns, rows = len(maps) + 1, len(images)
    lines = textwrap.wrap(caption, 24 * columns)
    height = _TILE * rows + _TITLE + _BAR + 0.17 * len(lines)
    figure = Figure(figsize=(_TILE * columns, height))
    figure.subplots_adjust(0.01, 1 - (_TITLE + _TILE * rows) / height, 0.99, 1 - _TITLE / height, wspace=0.04)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    _column(axes[0], images, "x")
    for ax, heatmap in zip(axes[1:], maps, strict=True):
        _column(ax, heatmap.over(images.detach().cpu().float()), heatmap.title)
        place = ax.get_position()
        bar = figure.add_axes((place.x0 + 0.1 * place.width, place.y0 - 0.2 / height, 0.8 * place.width, 0.1 / height))
        figure.colorbar(heatmap.scale, cax=bar, orientation="horizontal", ticks=_ticks(heatmap), format="%g")
        bar.tick_params(labelsize=7)
        bar.set_xlabel(heatmap.unit, fontsize=7)
    figure.text(0.01, 0.02, "\n".join(lines), fontsize=8, va="bottom")
    return figure


def _ticks(heatmap: Heatmap) -> list[float]:
    unit = 10.0 ** math.floor(math.log10(heatmap.limit))
    limit = math.floor(heatmap.limit / unit) * unit  # one digit, within the bar
    return [-limit, 0, limit] if heatmap.signed else [0, limit]


def _column(ax: Axes, images: Tensor, title: str) -> None:
    ax.imshow(image_grid(images.unsqueeze(1)), interpolation="nearest", aspect="auto")
    ax.set_title(textwrap.fill(title, 20), fontsize=8)
    ax.set_axis_off()

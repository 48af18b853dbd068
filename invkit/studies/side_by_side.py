"""Panels of images side by side with labelled rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from invkit.report import image_grid

__all__ = ["side_by_side"]

_GAP = 2  # px between images


def side_by_side(rows: Sequence[str], panels: Mapping[str, Tensor], size: float = 0.62) -> Figure:
    """Draw panels of images in labelled rows.

    Args:
        rows: name of each row, the same in all panels.
        panels: by title, (R, C, 3, S, S) in [0, 1].
        size: side of an image in inches.
    """
    columns = [panel.shape[1] for panel in panels.values()]
    side = next(iter(panels.values())).shape[-1]
    widths = [count * (side + _GAP) - _GAP for count in columns]
    figure = Figure(figsize=(size * (sum(columns) + 0.4 * len(panels)) + 1.2, size * len(rows) + 0.6))
    axes = figure.subplots(1, len(panels), squeeze=False, gridspec_kw={"width_ratios": widths, "wspace": 0.06})[0]
    for ax, (title, images) in zip(axes, panels.items(), strict=True):
        ax.imshow(image_grid(images, _GAP), interpolation="nearest")
        ax.set_title(title, fontsize=9)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
    middles = torch.arange(len(rows)) * (side + _GAP) + (side - 1) / 2
    axes[0].set_yticks(middles.tolist(), list(rows), fontsize=9)
    axes[0].tick_params(length=0)
    return figure

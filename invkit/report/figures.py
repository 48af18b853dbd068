"""Figures: from tensors and estimates to matplotlib figures. No window is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from invkit.core import Estimate

__all__ = ["curves", "histories", "image_grid", "prior_sheet", "sample_sheet", "shares", "write_png"]

_COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#8a5a9e", "#7a7a7a", "#b58900")


def image_grid(images: Tensor, gap: int = 2) -> np.ndarray:
    """Arrange images (R, C, 3, S, S) as one array (H, W, 3) in [0, 1], separated by white lines.

    Args:
        images: in [0, 1]; values outside are clipped.
        gap: width of the lines in pixels.

    Example:
        >>> import torch
        >>> image_grid(torch.zeros(2, 5, 3, 8, 8)).shape
        (18, 48, 3)
    """
    rows, columns, _, height, width = images.shape
    sheet = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), np.float32)
    for r in range(rows):
        for c in range(columns):
            top, left = r * (height + gap), c * (width + gap)
            tile = images[r, c].detach().clamp(0, 1).movedim(0, -1).cpu().float().numpy()
            sheet[top : top + height, left : left + width] = tile
    return sheet


def write_png(file: Path, sheets: Sequence[Tensor], scale: int = 2) -> None:
    """Write sheets of images (R, C, 3, S, S) side by side as a PNG file, without axes or text.

    Args:
        file: path of the PNG file.
        sheets: with equal R and S.
        scale: enlargement, without interpolation.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "sheet.png"
        ...     write_png(file, [torch.rand(2, 1, 3, 8, 8), torch.rand(2, 4, 3, 8, 8)])
        ...     Image.open(file).size
        (140, 36)
    """
    arrays = [image_grid(sheet) for sheet in sheets]
    between = np.ones((len(arrays[0]), 24, 3), np.float32)
    whole = np.concatenate([part for array in arrays for part in (array, between)][:-1], 1)
    picture = Image.fromarray((whole * 255).round().astype(np.uint8))
    picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(file)


def _show(ax: Axes, images: Tensor, title: str) -> None:
    ax.imshow(image_grid(images), interpolation="nearest")
    ax.set_title(title, fontsize=9)
    ax.set_axis_off()


def sample_sheet(images: Tensor, reconstructions: Tensor, samples: Tensor, title: str = "") -> Figure:
    """Draw input, reconstruction and samples of each row (paper, fig. S7).

    Args:
        images: (R, 3, S, S).
        reconstructions: (R, 3, S, S).
        samples: (R, C, 3, S, S).
        title: name of what the samples are drawn for.

    Example:
        >>> x = torch.rand(4, 3, 8, 8)
        >>> [ax.get_title() for ax in sample_sheet(x, x, torch.rand(4, 6, 3, 8, 8)).axes]
        ['x', 'D(E(x))', '']
    """
    rows, columns = samples.shape[:2]
    figure = Figure(figsize=(0.7 * (columns + 2.4), 0.7 * rows + 0.5))
    side = images.shape[-1]
    widths = [side, side, columns * (side + 2) - 2]  # in pixels, so that rows stand level
    axes = figure.subplots(1, 3, gridspec_kw={"width_ratios": widths, "wspace": 0.04})
    _show(axes[0], images.unsqueeze(1), "x")
    _show(axes[1], reconstructions.unsqueeze(1), "D(E(x))")
    _show(axes[2], samples, "")
    if title:
        axes[2].set_title(f"{title}: samples D(t⁻¹(v | z)),\none z a row, one v a column", fontsize=9)
    return figure


def prior_sheet(images: Tensor, reconstructions: Tensor, drawn: Tensor) -> Figure:
    """Draw images, their reconstructions and images decoded from the prior, one row each.

    Args:
        images: (R, 3, S, S).
        reconstructions: (R, 3, S, S).
        drawn: (R, 3, S, S).

    Example:
        >>> x = torch.rand(4, 3, 8, 8)
        >>> len(prior_sheet(x, x, x).axes)
        3
    """
    figure = Figure(figsize=(0.8 * len(images), 3.2))
    for ax, row, title in zip(
        figure.subplots(3, 1), (images, reconstructions, drawn), ("x", "D(E(x))", "D(z̄), z̄ ~ N(0, 1)"), strict=True
    ):
        _show(ax, row.unsqueeze(0), title)
    return figure


def shares(values: Mapping[str, Estimate], title: str = "") -> Figure:
    """Draw one bar per share, with error bars of one standard error.

    Args:
        values: shares by name.
        title: above the axis.

    Example:
        >>> shares({"invariance": Estimate(0.7, 0.01, 600), "digit": Estimate(0.9, 0.02, 600)}).axes[0].get_xlabel()
        'share of variance'
    """
    figure = Figure(figsize=(4.6, 0.5 * len(values) + 0.9))
    ax = figure.subplots()
    names = list(values)
    ax.barh(
        names[::-1],
        [values[n].value for n in names[::-1]],
        xerr=[values[n].standard_error for n in names[::-1]],
        color=[_COLOURS[k % len(_COLOURS)] for k in range(len(names))][::-1],
        height=0.6,
    )
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of variance")
    ax.set_title(title, fontsize=10)
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def curves(
    at: Sequence[object],
    series: Mapping[str, Sequence[Estimate]],
    xlabel: str = "",
    ylabel: str = "share of variance",
) -> Figure:
    """Draw series of estimates over common points, with bands of one standard error.

    Args:
        at: positions, or names at equal distances.
        series: one estimate per point, by name.
        xlabel: label of the horizontal axis.
        ylabel: label of the vertical axis.

    Example:
        >>> rise = [Estimate(0.2, 0.01, 600), Estimate(0.5, 0.02, 600)]
        >>> curves(["conv1", "conv2"], {"invariance": rise}, "layer").axes[0].get_xlabel()
        'layer'
    """
    figure = Figure(figsize=(6.4, 3.4))
    ax = figure.subplots()
    numeric = all(isinstance(a, (int, float)) for a in at)
    x = torch.tensor([float(a) for a in at]) if numeric else torch.arange(len(at))  # type: ignore[arg-type]
    for k, (name, points) in enumerate(series.items()):
        value, error = torch.tensor([(each.value, each.standard_error) for each in points]).T
        colour = _COLOURS[k % len(_COLOURS)]
        ax.plot(x, value, "o-", color=colour, label=name, markersize=4)
        ax.fill_between(x, value - error, value + error, color=colour, alpha=0.25, linewidth=0)
    if not numeric:
        ax.set_xticks(x, [str(a) for a in at], rotation=20, ha="right")
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    if any(each.value < 0 for points in series.values() for each in points):
        ax.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    else:
        ax.set_ylim(bottom=0)
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def histories(steps: Sequence[int], series: Mapping[str, Sequence[float]]) -> Figure:
    """Draw series over the steps of training, one axis each; NaN for missing points.

    Args:
        steps: of training.
        series: one value per step, by name.

    Example:
        >>> [ax.get_title() for ax in histories([0, 100], {"loss": [1.0, 0.5], "KL": [np.nan, 2.0]}).axes]
        ['loss', 'KL']
    """
    columns = min(4, len(series))
    rows = -(-len(series) // columns)
    figure = Figure(figsize=(2.6 * columns, 1.9 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for k, (ax, (name, values)) in enumerate(zip(axes, series.items(), strict=False)):
        ax.plot(steps, values, color=_COLOURS[k % len(_COLOURS)])
        ax.set_title(name, fontsize=9)
        ax.tick_params(labelsize=7)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in list(figure.axes)[len(series) :]:
        ax.set_visible(False)
    return figure

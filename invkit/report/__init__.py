"""Figures, pages and data frames of results."""

from invkit.report.figures import curves, image_grid, sample_sheet, shares, write_png
from invkit.report.frames import NUMBERS, data_frame, flat_rows, metric_rows
from invkit.report.html import Picture, Section, Table, write_page
from invkit.report.saving import load_sections, save_sections

__all__ = [
    "NUMBERS",
    "Picture",
    "Section",
    "Table",
    "curves",
    "data_frame",
    "flat_rows",
    "image_grid",
    "load_sections",
    "metric_rows",
    "sample_sheet",
    "save_sections",
    "shares",
    "write_page",
    "write_png",
]

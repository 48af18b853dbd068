"""Figures and pages of plain results."""

from invkit.report.figures import curves, image_grid, sample_sheet, shares, write_png
from invkit.report.html import Picture, Section, Table, write_page

__all__ = ["Picture", "Section", "Table", "curves", "image_grid", "sample_sheet", "shares", "write_page", "write_png"]

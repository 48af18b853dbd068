"""One HTML file with everything in it: no script, no link, no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from invkit.utils.io import write_bytes

__all__ = ["Picture", "Section", "Table", "write_page"]


@dataclass(frozen=True)
class Picture:
    """A figure with a caption that a reader understands without the paper."""

    figure: Figure
    caption: str

    @property
    def source(self) -> str:
        """The figure as a data URI."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight")
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; the words green, amber and red stand as lights."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A heading with text, pictures and tables, in this order."""

    title: str
    text: str = ""
    pictures: Sequence[Picture] = field(default_factory=tuple)
    tables: Sequence[Table] = field(default_factory=tuple)


def write_page(file: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write a page, atomically.

    Raises:
        ArtefactError: the file can't be written.
    """
    environment = Environment(
        loader=PackageLoader("invkit.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("page.html").render(title=title, sections=sections)
    write_bytes(file, page.encode())
    return file

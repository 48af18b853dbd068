"""Pages as self-contained HTML files: no script, no link, no network."""

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
    """A figure with a caption that is understood without the paper.

    Attributes:
        figure: a matplotlib figure, or the bytes of a PNG file.
        caption: below the figure.

    Example:
        >>> from matplotlib.figure import Figure
        >>> picture = Picture(Figure(figsize=(1, 1)), "An empty figure.")
        >>> picture.source[:22]
        'data:image/png;base64,'
        >>> Picture(picture.png, "The same.").png == picture.png
        True
    """

    figure: Figure | bytes
    caption: str

    @property
    def png(self) -> bytes:
        """The figure as a PNG file."""
        if isinstance(self.figure, bytes):
            return self.figure
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight")
        return buffer.getvalue()

    @property
    def source(self) -> str:
        """The figure as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; the words green, amber and red are shown as lights.

    Attributes:
        header: one text per column.
        rows: each one text per column.

    Example:
        >>> Table(["metric", "value ± error"], [["invariance", "0.710 ± 0.012"]]).header
        ['metric', 'value ± error']
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A heading with text, pictures and tables, in this order.

    Attributes:
        title: the heading.
        text: one paragraph.
        pictures: below the text.
        tables: below the pictures.

    Example:
        >>> Section("Numbers", tables=[Table(["a", "b"], [["1", "2"]])]).pictures
        ()
    """

    title: str
    text: str = ""
    pictures: Sequence[Picture] = field(default_factory=tuple)
    tables: Sequence[Table] = field(default_factory=tuple)


def write_page(file: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write a page of sections as one HTML file, atomically. All text is escaped.

    Raises:
        ArtefactError: the file can't be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = write_page(Path(folder) / "page.html", "A < B", [Section("Only text", "One paragraph.")])
        ...     "A &lt; B" in file.read_text(encoding="utf-8")
        True
    """
    environment = Environment(
        loader=PackageLoader("invkit.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("page.html").render(title=title, sections=sections)
    write_bytes(file, page.encode())
    return file

"""Short texts for terminals."""

from __future__ import annotations

__all__ = ["one_line"]


def one_line(text: str, width: int = 119) -> str:
    """Return a text as one line of at most `width` characters, its end replaced by `…` if it is longer.

    Example:
        >>> one_line("Profile('conv1', 'conv2')", width=12)
        "Profile('co…"
    """
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"

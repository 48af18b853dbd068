"""Trained autoencoders that plugins offer."""

from __future__ import annotations

from pathlib import Path

from invkit.core import Autoencoder
from invkit.plugins import load_named

__all__ = ["load_autoencoder"]


def load_autoencoder(name: str, *, weights: str | Path | None = None, local_files_only: bool = False) -> Autoencoder:
    """Load an autoencoder that a plugin offers; it goes into :func:`invkit.explain` as `autoencoder`.

    Args:
        name: ``prefix:name`` (``biggan:biggan-256``), or a bare name that exactly one plugin offers.
        weights: None for the best published ones, ``random``, a name that the library knows, or a file, a folder or
            ``hf-hub:owner/name``.
        local_files_only: never download.

    Raises:
        PluginError: no plugin offers it, several do, or the plugin is broken.
        ArtefactError: the weights cannot be had, or do not fit.
    """
    found: Autoencoder = load_named(
        "autoencoder", name, Autoencoder, weights=weights, local_files_only=local_files_only
    )
    return found

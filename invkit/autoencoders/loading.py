"""Autoencoders by name, from plugins and from folders; built-in ones from their description."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from invkit.autoencoders.big import BigAutoencoder
from invkit.autoencoders.conv import ConvAutoencoder
from invkit.core import Autoencoder
from invkit.errors import ArtefactError
from invkit.interpretees.weights import fit_weights
from invkit.plugins import load_named
from invkit.utils.io import read_json, read_tensors

__all__ = ["MANIFEST", "WEIGHTS", "describe", "is_built_in", "load_autoencoder", "load_folder", "rebuild"]

MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"
_BUILT_IN: dict[str, type[Autoencoder]] = {c.__name__: c for c in (ConvAutoencoder, BigAutoencoder)}


def describe(autoencoder: Autoencoder) -> dict[str, Any]:
    """Return its class and config, JSON-able: what :func:`rebuild` takes."""
    return {"class": type(autoencoder).__name__, **autoencoder.config}


def is_built_in(autoencoder: Autoencoder) -> bool:
    """Whether :func:`rebuild` builds it."""
    return type(autoencoder) in _BUILT_IN.values()


def rebuild(description: dict[str, Any]) -> Autoencoder:
    """Build a built-in autoencoder with random weights.

    Raises:
        ArtefactError: it is none of the built-in ones.
    """
    config = dict(description)
    name = config.pop("class", None)
    if name not in _BUILT_IN:
        raise ArtefactError("This is not an autoencoder of invkit's own", expected=" or ".join(_BUILT_IN), got=name)
    return _BUILT_IN[name](**config)


def load_folder(folder: Path) -> tuple[Autoencoder, dict[str, Any]]:
    """Read an autoencoder that :func:`invkit.train_autoencoder` trained, with its manifest.

    Raises:
        ArtefactError: no such folder, damaged, or written by another version.
    """
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("kind") != "autoencoder":
        raise ArtefactError(
            f"{folder} holds no trained autoencoder",
            expected="a folder that `invkit train-autoencoder` wrote",
            got=manifest.get("kind", "another manifest") if isinstance(manifest, dict) else type(manifest).__name__,
        )
    try:
        autoencoder = rebuild(manifest.get("autoencoder", {}))
    except TypeError as error:
        raise ArtefactError(
            f"{folder} was written by another version of invkit",
            expected="an autoencoder with the options that this version knows",
            got=error,
        ) from error
    fit_weights(autoencoder, read_tensors(folder / WEIGHTS)[0], folder)
    return autoencoder.eval(), manifest


def load_autoencoder(
    name: str | Path, *, weights: str | Path | None = None, local_files_only: bool = False
) -> Autoencoder:
    """Load a trained autoencoder; it goes into :func:`invkit.explain` as `autoencoder`.

    Args:
        name: a folder that :func:`invkit.train_autoencoder` wrote; ``prefix:name`` (``biggan:biggan-256``) of what a
            plugin offers, or a bare name that exactly one plugin does.
        weights: None for the best published ones, ``random``, a name that the library knows, or a file, a folder or
            ``hf-hub:owner/name``.
        local_files_only: never download.

    Raises:
        PluginError: no plugin offers it, several do, or the plugin is broken.
        ArtefactError: the weights cannot be had, or do not fit.
    """
    if (Path(name) / MANIFEST).exists():
        return load_folder(Path(name))[0]
    if isinstance(name, Path) or name.endswith("/"):
        raise ArtefactError(
            f"No trained autoencoder in {name}",
            expected=f"a folder with {MANIFEST}, which `invkit train-autoencoder` writes",
            got="no such folder" if not Path(name).exists() else "another folder",
        )
    found: Autoencoder = load_named(
        "autoencoder", str(name), Autoencoder, weights=weights, local_files_only=local_files_only
    )
    return found

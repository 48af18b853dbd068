"""Load autoencoders from folders and plugins; rebuild built-in ones from their description."""

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
    """Return an autoencoder's class and config as JSON-able values, for :func:`rebuild`.

    Example:
        >>> import invkit
        >>> describe(invkit.ConvAutoencoder(28, latent_dim=16, width=8))
        {'class': 'ConvAutoencoder', 'image_size': 28, 'latent_dim': 16, 'width': 8}
    """
    return {"class": type(autoencoder).__name__, **autoencoder.config}


def is_built_in(autoencoder: Autoencoder) -> bool:
    """Whether :func:`rebuild` can build an autoencoder of this class.

    Example:
        >>> import invkit
        >>> is_built_in(invkit.ConvAutoencoder(28, latent_dim=16, width=8))
        True
    """
    return type(autoencoder) in _BUILT_IN.values()


def rebuild(description: dict[str, Any]) -> Autoencoder:
    """Build a built-in autoencoder with random weights from its :func:`describe`.

    Raises:
        ArtefactError: its class is not built in.

    Example:
        >>> rebuild({"class": "ConvAutoencoder", "image_size": 28, "latent_dim": 16, "width": 8}).latent_shape
        (16,)
    """
    config = dict(description)
    name = config.pop("class", None)
    if name not in _BUILT_IN:
        raise ArtefactError("This is not a built-in autoencoder", expected=" or ".join(_BUILT_IN), got=name)
    return _BUILT_IN[name](**config)


def load_folder(folder: Path) -> tuple[Autoencoder, dict[str, Any]]:
    """Load a trained autoencoder from its folder, with its manifest.

    Raises:
        ArtefactError: the folder does not exist, is damaged, or was written by another version.
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
    """Load a trained autoencoder, for instance to pass it to :func:`invkit.explain` as `autoencoder`.

    Args:
        name: a folder that :meth:`TrainedAutoencoder.save` wrote; ``prefix:name`` (``biggan:biggan-256``) of a plugin's
            autoencoder, or a name alone that exactly one plugin offers.
        weights: None for the best published ones, ``random``, a name that the plugin's library knows, or a file, a
            folder or ``hf-hub:owner/name``.
        local_files_only: never download.

    Returns:
        The autoencoder in evaluation mode.

    Raises:
        PluginError: no plugin offers it, several do, or the plugin is broken.
        ArtefactError: the weights are not available, or do not fit.

    Example:
        >>> import tempfile, torch, invkit
        >>> settings = invkit.AutoencoderSettings(latent_dim=8, width=4, fit=invkit.FitSettings(steps=2, batch_size=8))
        >>> trained = invkit.train_autoencoder(torch.rand(48, 3, 28, 28), settings=settings)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     load_autoencoder(trained.save(folder)).latent_shape
        (8,)
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

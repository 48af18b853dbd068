"""invkit's own plugin: what is built in enters by the same hooks as everybody else's work."""

from __future__ import annotations

from typing import Any

from invkit.hookspecs import hookimpl

INVKIT_API = 1

_TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}


@hookimpl
def list_datasets() -> list[str]:
    """ColorDigits, and what torchvision reads from a folder: ``mnist:ROOT``, ``fashion-mnist:ROOT``."""
    return ["color-digits", *_TORCHVISION]


@hookimpl
def load_dataset(name: str) -> Any:
    """Give ColorDigits, or the training images below torchvision's ROOT (in ROOT/MNIST/raw, ROOT/FashionMNIST/raw)."""
    from invkit.data import color_digits
    from invkit.errors import DataError

    name, _, root = name.partition(":")
    if name == "color-digits":
        return color_digits()
    if name not in _TORCHVISION:
        return None
    import torchvision

    kind = _TORCHVISION[name]
    try:
        return getattr(torchvision.datasets, kind)(root or ".", train=True, download=False)
    except RuntimeError as error:
        raise DataError(
            f"{kind} is not there",
            expected=f"its idx files in {root or '.'}/{kind}/raw, and the data as {name}:FOLDER",
            hint=f"`torchvision.datasets.{kind}({root or '.'!r}, download=True)` fetches them.",
        ) from error


@hookimpl
def list_autoencoders() -> list[str]:
    """The convolutional autoencoder of table S1."""
    return ["conv"]


@hookimpl
def load_autoencoder(name: str, weights: str | None, local_files_only: bool) -> Any:
    """Give a 28-px autoencoder of table S1, with weights from a file or random ones; none are published."""
    from invkit.autoencoders import ConvAutoencoder
    from invkit.errors import ArtefactError
    from invkit.interpretees import load_weights

    if name != "conv":
        return None
    if weights is None:
        raise ArtefactError(
            "No weights are published for 'conv'",
            expected="weights='random', a file, a folder or hf-hub:owner/name",
            hint="invkit.explain trains one on your images where none is given.",
        )
    autoencoder = ConvAutoencoder()
    if weights != "random":
        load_weights(autoencoder, weights, local_files_only=local_files_only)
    return autoencoder


@hookimpl
def list_flow_blocks() -> list[str]:
    """Every block of :mod:`invkit.flows`."""
    return ["actnorm", "affine", "linear", "paper", "shuffle", "spline"]


@hookimpl
def build_flow_block(name: str, dim: int, condition_dim: int) -> Any:
    """Give a new block of that kind."""
    from invkit.flows import ActNorm
    from invkit.flows.presets import COUPLINGS, MIXINGS

    if name in COUPLINGS:
        return COUPLINGS[name](dim, condition_dim)
    alone = {"actnorm": ActNorm, **MIXINGS}
    return alone[name](dim) if name in alone else None

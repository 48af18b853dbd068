"""invkit's own plugin: what is built in enters by the same hooks as everybody else's work."""

from __future__ import annotations

from typing import Any

from invkit.plugins import hookimpl

INVKIT_API = 1

_BIG = {f"big-{size}": size for size in (64, 128, 256)}
_TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}


@hookimpl
def list_datasets() -> list[str]:
    """ColorDigits, and what torchvision reads from a folder: ``mnist:ROOT``, ``fashion-mnist:ROOT``."""
    return ["color-digits", *_TORCHVISION]


@hookimpl
def load_dataset(name: str) -> Any:
    """Return ColorDigits, or the training images below torchvision's ROOT (ROOT/MNIST/raw, ROOT/FashionMNIST/raw)."""
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
    """The autoencoders of tables S1 (28 px) and S7."""
    return ["conv", *_BIG]


@hookimpl
def load_autoencoder(name: str, weights: str | None, local_files_only: bool) -> Any:
    """Return an autoencoder of table S1 or S7 with weights of its own or, for S7, the authors'; or random ones."""
    from invkit.autoencoders import BigAutoencoder, ConvAutoencoder
    from invkit.autoencoders.released import from_released, is_released
    from invkit.errors import ArtefactError
    from invkit.interpretees import fit_weights, read_weights

    if name != "conv" and name not in _BIG:
        return None
    if weights is None:
        raise ArtefactError(
            f"No weights of '{name}' are fetched for you",
            expected="weights='random', a file, a folder or hf-hub:owner/name; for big-128 also one that the paper's "
            "authors released",
            hint="invkit.train_autoencoder trains one on your images, and so does invkit.explain where none is given.",
        )
    state = None if weights == "random" else read_weights(weights, local_files_only=local_files_only)
    if state is not None and name != "conv" and is_released(state):
        released = from_released(state, weights)
        if released.image_size != _BIG[name]:
            raise ArtefactError(
                f"The weights in {weights} are of another size",
                expected=f"{_BIG[name]} px",
                got=f"{released.image_size} px, which is invkit:big-{released.image_size}",
            )
        return released
    autoencoder = ConvAutoencoder() if name == "conv" else BigAutoencoder(_BIG[name])
    if state is not None:
        fit_weights(autoencoder, state, weights)
    return autoencoder.eval()


@hookimpl
def list_flow_blocks() -> list[str]:
    """Every block of :mod:`invkit.flows`."""
    return ["actnorm", "affine", "linear", "paper", "shuffle", "spline"]


@hookimpl
def build_flow_block(name: str, dim: int, condition_dim: int) -> Any:
    """Return a new block of that kind."""
    from invkit.flows import ActNorm
    from invkit.flows.presets import COUPLINGS, MIXINGS

    if name in COUPLINGS:
        return COUPLINGS[name](dim, condition_dim)
    alone = {"actnorm": ActNorm, **MIXINGS}
    return alone[name](dim) if name in alone else None

"""invkit's own plugin: what is built in is registered here, by the hooks that every plugin has.

Each table has one line for each name: where it is defined. Nothing is imported until it is asked for.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from invkit.plugins import hookimpl

INVKIT_API = 1

#: flow blocks: a class or function in invkit.flows, called with those arguments of `build_flow_block` that it takes
_FLOW_BLOCKS = {
    "actnorm": "actnorm:ActNorm",
    "affine": "conv_coupling:affine_coupling",
    "linear": "linear:LULinear",
    "paper": "coupling:PaperCoupling",
    "shuffle": "shuffle:Shuffle",
    "spline": "spline:SplineCoupling",
    "tarflow": "tarflow:alternating_tarflow",
}
#: embedders H: a class or function in invkit.flows, called with (shape, dim)
_EMBEDDERS = {
    "lean": "embedders:embedder_for",
    "paper": "paper:paper_embedder_for",
}
#: autoencoders: a class in invkit.autoencoders and its arguments
_AUTOENCODERS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "conv": ("conv:ConvAutoencoder", ()),
    "big-64": ("big:BigAutoencoder", (64,)),
    "big-128": ("big:BigAutoencoder", (128,)),
    "big-256": ("big:BigAutoencoder", (256,)),
}
#: data sets: a function in invkit.data
_DATASETS = {
    "color-digits": "digits:color_digits",
}
#: data sets that torchvision reads from a folder, as ``name:ROOT``: a class in torchvision.datasets
_TORCHVISION = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
}


def _find(room: str, place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(f"invkit.{room}.{module}"), name)
    return found


@hookimpl
def list_flow_blocks() -> list[str]:
    """List the flow blocks that are built in."""
    return list(_FLOW_BLOCKS)


@hookimpl
def build_flow_block(
    name: str, shape: tuple[int, ...], dim: int, condition_dim: int, width: int, depth: int, seed: int, index: int
) -> Any:
    """Build a flow block."""
    if name not in _FLOW_BLOCKS:
        return None
    build = _find("flows", _FLOW_BLOCKS[name])
    given = {
        "shape": shape, "dim": dim, "condition_dim": condition_dim, "width": width, "depth": depth, "seed": seed,
        "index": index,
    }  # fmt: skip
    return build(**{key: given[key] for key in inspect.signature(build).parameters.keys() & given.keys()})


@hookimpl
def list_embedders() -> list[str]:
    """List the embedders that are built in."""
    return list(_EMBEDDERS)


@hookimpl
def build_embedder(name: str, shape: tuple[int, ...], dim: int) -> Any:
    """Build an embedder H."""
    return _find("flows", _EMBEDDERS[name])(shape, dim) if name in _EMBEDDERS else None


@hookimpl
def list_autoencoders() -> list[str]:
    """List the autoencoders of tables S1 (28 px) and S7."""
    return list(_AUTOENCODERS)


@hookimpl
def load_autoencoder(name: str, weights: str | None, local_files_only: bool) -> Any:
    """Load an autoencoder with your own weights, those that the paper's authors released (table S7), or random ones."""
    if name not in _AUTOENCODERS:
        return None
    from invkit.autoencoders.released import from_released, is_released
    from invkit.errors import ArtefactError
    from invkit.interpretees import fit_weights, read_weights

    if weights is None:
        raise ArtefactError(
            f"'{name}' has no default weights",
            expected="weights='random', a file, a folder or hf-hub:owner/name; for big-128 also the weights that the "
            "paper's authors released",
            hint="invkit.train_autoencoder trains one on your images, and so does invkit.explain by default.",
        )
    state = None if weights == "random" else read_weights(weights, local_files_only=local_files_only)
    if state is not None and is_released(state):
        released = from_released(state, weights)
        if name != f"big-{released.image_size}":
            raise ArtefactError(
                f"The weights in {weights} are of another autoencoder",
                expected=f"weights of invkit:{name}",
                got=f"weights for {released.image_size} px, of invkit:big-{released.image_size}",
            )
        return released
    place, arguments = _AUTOENCODERS[name]
    autoencoder = _find("autoencoders", place)(*arguments)
    if state is not None:
        fit_weights(autoencoder, state, weights)
    return autoencoder.eval()


@hookimpl
def list_datasets() -> list[str]:
    """List ColorDigits, and what torchvision reads from a folder: ``mnist:ROOT``, ``fashion-mnist:ROOT``."""
    return [*_DATASETS, *_TORCHVISION]


@hookimpl
def load_dataset(name: str) -> Any:
    """Load a data set; of torchvision's the training images below ROOT (ROOT/MNIST/raw, ROOT/FashionMNIST/raw)."""
    name, _, root = name.partition(":")
    if name in _DATASETS:
        return _find("data", _DATASETS[name])()
    return _from_torchvision(name, root or ".") if name in _TORCHVISION else None


def _from_torchvision(name: str, root: str) -> Any:
    import torchvision

    from invkit.errors import DataError

    kind = _TORCHVISION[name]
    try:
        return getattr(torchvision.datasets, kind)(root, train=True, download=False)
    except RuntimeError as error:
        raise DataError(
            f"{kind} was not found",
            expected=f"its idx files in {root}/{kind}/raw, and the data as {name}:FOLDER",
            hint=f"`torchvision.datasets.{kind}({root!r}, download=True)` downloads them.",
        ) from error

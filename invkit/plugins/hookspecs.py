"""What a plugin may offer: implement any of these with :data:`hookimpl` in the module that your entry point names.

::

    # pyproject.toml:  [project.entry-points.invkit]   zoo = "invkit_zoo"
    from invkit.plugins import hookimpl

    INVKIT_API = 1

    @hookimpl
    def list_models():
        return ["tiny"]

    @hookimpl
    def load_model(name):
        from invkit.interpretees import ModuleInterpretee, Preprocess
        return ModuleInterpretee(TinyNet(), Preprocess(size=32)) if name == "tiny" else None

The entry point's name is the prefix: ``zoo:tiny``. A bare name, ``tiny``, is that of the built-in thing of this name,
if any, and otherwise works if exactly one plugin offers it. What is built in enters by the same hooks, in
``invkit/plugins/builtin.py``.

A hook may leave out arguments that it doesn't need: where it leaves out `weights`, asking for weights is an error.
Arguments with a default are never passed. For a name that it does not offer a hook returns None. Import heavy libraries
inside the hooks: a live model is offered to every plugin's :func:`claim_model`, for which all plugin modules are
imported. docs/plugins.md has a complete example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from torch import Tensor, nn

    from invkit.core import Autoencoder, Embedder, FlowBlock, Interpretee

__all__ = ["API_VERSION", "hookimpl"]

#: what a plugin's module states as INVKIT_API; it changes when a hook changes its meaning
API_VERSION = 1

hookimpl = pluggy.HookimplMarker("invkit")
_hookspec = pluggy.HookspecMarker("invkit")


@_hookspec(firstresult=True)
def list_models() -> Iterable[str]:
    """Return the names of all models, without the prefix."""
    raise NotImplementedError


@_hookspec(firstresult=True)
def load_model(name: str, weights: str | None, local_files_only: bool) -> Interpretee | None:
    """Return a model with its preprocessing, or None for an unknown name.

    Args:
        name: without the prefix.
        weights: None for the best published ones, ``random``, a name that the library knows, or what
            :func:`invkit.interpretees.load_weights` reads: a file, a folder, ``hf-hub:owner/name``. Weights that
            cannot be found must raise.
        local_files_only: never download.
    """
    raise NotImplementedError


@_hookspec(firstresult=True)
def claim_model(module: nn.Module, preprocess: Callable[[Tensor], Tensor] | None) -> Interpretee | None:
    """Return the interpretee of a live module that this plugin knows, or None.

    Must be quick and must not import the library: if the module is the library's, the library is imported already.

    Args:
        module: the user's model.
        preprocess: given by the user; None if the plugin should choose it.
    """
    raise NotImplementedError


@_hookspec(firstresult=True)
def list_autoencoders() -> Iterable[str]:
    """Return the names of all autoencoders, without the prefix."""
    raise NotImplementedError


@_hookspec(firstresult=True)
def load_autoencoder(name: str, weights: str | None, local_files_only: bool) -> Autoencoder | None:
    """Return a trained autoencoder, or None for an unknown name; arguments as of :func:`load_model`."""
    raise NotImplementedError


@_hookspec(firstresult=True)
def list_flow_blocks() -> Iterable[str]:
    """Return the names of all kinds of flow block, without the prefix."""
    raise NotImplementedError


@_hookspec(firstresult=True)
def build_flow_block(
    name: str, shape: tuple[int, ...], dim: int, condition_dim: int, width: int, depth: int, seed: int, index: int
) -> FlowBlock | None:
    """Return a new flow block, or None for an unknown name.

    Args:
        name: without the prefix.
        shape: (D,) of a code that is a vector, (C, H, W) of a map. A block over maps says so by `shape` in its config;
            if it takes no other codes, it raises :class:`invkit.errors.SettingsError` for vectors.
        dim: D, the number of elements of a code, product of `shape`.
        condition_dim: width of the condition; 0 for none, as for a mixing.
        width: width of subnetworks.
        depth: depth of subnetworks.
        seed: seed of fixed random parts such as a permutation.
        index: position of the block in its flow, for blocks that alternate.
    """
    raise NotImplementedError


@_hookspec(firstresult=True)
def list_embedders() -> Iterable[str]:
    """Return the names of all embedders H, without the prefix."""
    raise NotImplementedError


@_hookspec(firstresult=True)
def build_embedder(name: str, shape: tuple[int, ...], dim: int) -> Embedder | None:
    """Return a new embedder H, or None for an unknown name.

    Args:
        name: without the prefix.
        shape: shape of a representation z without its batch axis. For shapes that it is not for, the hook raises
            :class:`invkit.errors.LayerError`.
        dim: width of the condition: H maps (B, *shape) to (B, dim).
    """
    raise NotImplementedError


@_hookspec(firstresult=True)
def list_datasets() -> Iterable[str]:
    """Return the names of all data sets, without the prefix."""
    raise NotImplementedError


@_hookspec(firstresult=True)
def load_dataset(name: str) -> Any:
    """Return what :func:`invkit.as_image_set` reads, or None for an unknown name.

    Args:
        name: without the prefix; it may carry a folder, ``mnist:ROOT``.
    """
    raise NotImplementedError

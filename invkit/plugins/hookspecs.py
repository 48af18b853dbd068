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
        return ModuleInterpretee(TinyNet(), Preprocess(size=32))

The entry point's name is the prefix: ``zoo:tiny``. A hook may leave out arguments that it doesn't need (where it leaves
out `weights`, asking for some is an error); one with a default is never filled. Import heavy libraries inside the
hooks: a live model is offered to every plugin's :func:`claim_model`, so that all plugin modules are imported then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from torch import Tensor, nn

    from invkit.core import Autoencoder, FlowBlock, Interpretee

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
    """Return a model with its preprocessing, or None if there is none of that name.

    Args:
        name: without the prefix.
        weights: None for the best published ones, ``random``, a name that the library knows, or what
            :func:`invkit.interpretees.load_weights` reads: a file, a folder, ``hf-hub:owner/name``.
        local_files_only: never download.
    """
    raise NotImplementedError


@_hookspec(firstresult=True)
def claim_model(module: nn.Module, preprocess: Callable[[Tensor], Tensor] | None) -> Interpretee | None:
    """Return the interpretee of a live module that this plugin knows, or None.

    Must be quick and must not import the library: a module of it is there only if the library is imported already.

    Args:
        module: the user's model.
        preprocess: given by the user; None if it is for the plugin to know.
    """
    raise NotImplementedError


@_hookspec(firstresult=True)
def list_autoencoders() -> Iterable[str]:
    """Return the names of all autoencoders."""
    raise NotImplementedError


@_hookspec(firstresult=True)
def load_autoencoder(name: str, weights: str | None, local_files_only: bool) -> Autoencoder | None:
    """Return a trained autoencoder, or None; arguments as of :func:`load_model`."""
    raise NotImplementedError


@_hookspec(firstresult=True)
def list_flow_blocks() -> Iterable[str]:
    """Return the names of all kinds of flow block."""
    raise NotImplementedError


@_hookspec(firstresult=True)
def build_flow_block(name: str, dim: int, condition_dim: int) -> FlowBlock | None:
    """Return a new block over `dim` channels given a condition of `condition_dim`, or None."""
    raise NotImplementedError


@_hookspec(firstresult=True)
def list_datasets() -> Iterable[str]:
    """Return the names of all data sets."""
    raise NotImplementedError


@_hookspec(firstresult=True)
def load_dataset(name: str) -> Any:
    """Return whatever :func:`invkit.as_image_set` reads, or None; `name` may carry a folder: ``mnist:ROOT``."""
    raise NotImplementedError

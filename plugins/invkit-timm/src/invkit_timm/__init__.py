"""timm's models for invkit: ``timm:resnet18``, ``timm:vit_tiny_patch16_224.augreg_in21k``, ``timm:hf-hub:owner/name``.

timm is imported when a name is listed or loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from invkit.plugins import hookimpl

if TYPE_CHECKING:
    from torch import Tensor, nn

    from invkit.core import Interpretee

__all__ = ["claim_model", "list_models", "load_model"]

INVKIT_API = 1


@hookimpl
def list_models() -> list[str]:
    """List each architecture of timm, and each with the tags of its published weights."""
    import timm

    names = {*timm.list_models(), *timm.list_pretrained()}
    return sorted(
        names, key=lambda name: (not name.startswith("test_"), name)
    )  # `invkit plugins check` tries the first


@hookimpl
def load_model(name: str, weights: str | None, local_files_only: bool) -> Interpretee | None:
    """Load a timm model with its preprocessing, tokens and categories; None for an unknown name.

    Args:
        name: an architecture (``resnet18``), one with a tag (``resnet18.a1_in1k``), or timm's own
            ``hf-hub:owner/name[@revision]`` and ``local-dir:folder``.
        weights: None for the published weights, ``random`` (drawn from torch's global generator), a tag
            (``a1_in1k``), or a file, a folder or ``hf-hub:owner/name``; weights in another layout are
            converted if timm can convert them.
        local_files_only: never download.

    Raises:
        ArtefactError: the weights cannot be found or downloaded, or do not fit.
    """
    from invkit_timm.description import describe
    from invkit_timm.loading import build

    model = build(name, weights, local_files_only)
    return None if model is None else describe(model)


@hookimpl
def claim_model(module: nn.Module, preprocess: Callable[[Tensor], Tensor] | None) -> Interpretee | None:
    """Return the interpretee of a live timm model, with the preprocessing of its `pretrained_cfg`; None for others.

    Args:
        module: the user's model.
        preprocess: replaces timm's; a module of timm without a description of its input is claimed only with it.

    Warns:
        PreprocessWarning: the model takes one channel and timm describes three, whose average is assumed.

    Raises:
        DataError: the model takes neither one channel nor three, and no `preprocess` makes them.
    """
    if "timm" not in sys.modules:
        return None
    from invkit_timm.description import describe, is_timm

    return describe(module, preprocess) if is_timm(module, preprocess) else None

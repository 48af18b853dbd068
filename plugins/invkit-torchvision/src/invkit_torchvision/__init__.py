"""torchvision's models, with their weights, their preprocessing and the layers that the paper looks at."""

from __future__ import annotations

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
    """Name every model for classification, segmentation and detection that torchvision lists."""
    from invkit_torchvision.models import names

    return names()


@hookimpl
def load_model(name: str, weights: str | None, local_files_only: bool) -> Interpretee | None:
    """Return a model with its preprocessing, categories, tokens and the paper's names.

    Args:
        name: as torchvision lists it.
        weights: None for torchvision's default ones; the name of others of the same model (``IMAGENET1K_V1``);
            ``random``, drawn from torch's global generator; or a file, a folder, ``hf-hub:owner/name``.
        local_files_only: never download.

    Raises:
        ArtefactError: the weights are not there and cannot be had, are damaged, or do not fit.
    """
    from invkit_torchvision.models import load, names

    return load(name, weights, local_files_only) if name in names() else None


@hookimpl
def claim_model(module: nn.Module, preprocess: Callable[[Tensor], Tensor] | None) -> Interpretee | None:
    """Return the interpretee of a live model of torchvision; subclasses and parts of models are left alone.

    Warns:
        InvkitWarning: `preprocess` is None, so that the one of the default weights is assumed.
    """
    if not type(module).__module__.startswith("torchvision.models."):
        return None
    from invkit_torchvision.models import claim

    return claim(module, preprocess)

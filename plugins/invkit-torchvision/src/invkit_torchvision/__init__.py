"""torchvision's models, with their weights, their preprocessing and the layers that the paper explains."""

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
    """List torchvision's models for classification, segmentation and detection."""
    from invkit_torchvision.models import names

    return names()


@hookimpl
def load_model(name: str, weights: str | None, local_files_only: bool) -> Interpretee | None:
    """Load a model with its preprocessing, categories, tokens and the paper's names; None for an unknown name.

    Args:
        name: as torchvision lists it.
        weights: None for torchvision's default weights; the name of other weights of the model (``IMAGENET1K_V1``);
            ``random``, drawn from torch's global generator; or a file, a folder, ``hf-hub:owner/name``.
        local_files_only: never download.

    Raises:
        ArtefactError: the weights cannot be found or downloaded, are damaged, or do not fit.
    """
    from invkit_torchvision.models import load, names

    return load(name, weights, local_files_only) if name in names() else None


@hookimpl
def claim_model(module: nn.Module, preprocess: Callable[[Tensor], Tensor] | None) -> Interpretee | None:
    """Return the interpretee of a live model of torchvision; None for subclasses and parts of models.

    Warns:
        InvkitWarning: `preprocess` is None, and that of the default weights is assumed.
    """
    if not type(module).__module__.startswith("torchvision.models."):
        return None
    from invkit_torchvision.models import claim

    return claim(module, preprocess)

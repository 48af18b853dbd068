"""Published weights, in the folder of torch.hub, and other weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import nn

from invkit.errors import ArtefactError
from invkit.interpretees import fit_weights, published_weights, read_weights

__all__ = ["fill", "find"]

#: auxiliary classifiers of training; not built, since they never fire
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.", "aux_classifier.")
#: published DenseNets have names of layers with a dot, which torch no longer allows
_DOTTED = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")


def find(known: Any, weights: str | None, local_files_only: bool) -> str | None:
    """Return the path of the weights; published weights are downloaded to torch.hub's folder if they are not there.

    Args:
        known: torchvision's enum of the model's weights.
        weights: as of the plugin's `load_model`.
        local_files_only: never download.

    Returns:
        what :func:`invkit.interpretees.read_weights` reads, or None for random weights.

    Raises:
        ArtefactError: no such weights, or they cannot be downloaded.
    """
    if weights == "random":
        return None
    if weights is None or weights in known.__members__:
        return str(published_weights(known[weights or "DEFAULT"].url, local_files_only=local_files_only))
    if weights.isidentifier() and not Path(weights).exists():
        raise ArtefactError(
            f"No weights '{weights}' in {known.__name__}",
            expected=", ".join(member.name for member in known) + ", random, a file, a folder or hf-hub:owner/name",
        )
    return weights


def fill(model: nn.Module, source: str, local_files_only: bool) -> None:
    """Load weights in the current or in the published layout.

    Unlike torchvision's loader it never executes code in a file.

    Raises:
        ArtefactError: as of :func:`invkit.interpretees.load_weights`.
    """
    state = {
        _DOTTED.sub(r"\1\2", key): value
        for key, value in read_weights(source, local_files_only=local_files_only).items()
        if not key.startswith(_AUXILIARY)
    }
    fit_weights(model, state, source)

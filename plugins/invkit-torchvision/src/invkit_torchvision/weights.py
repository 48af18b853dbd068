"""Published weights, where torch.hub keeps them, and weights from elsewhere."""

from __future__ import annotations

import re
from collections import OrderedDict
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import nn

from invkit.errors import ArtefactError
from invkit.interpretees import read_weights

__all__ = ["fill", "find"]

#: classifiers that help in training only; not built, since they never fire
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.", "aux_classifier.")
#: published densenets have names of layers with a dot, which torch has forbidden since
_DOTTED = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")


def find(known: Any, weights: str | None, local_files_only: bool) -> str | None:
    """Say where the weights are; published ones are downloaded to torch.hub's folder unless they are there already.

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
        return str(_published(known[weights or "DEFAULT"], local_files_only))
    if weights.isidentifier() and not Path(weights).exists():
        raise ArtefactError(
            f"No weights '{weights}' in {known.__name__}",
            expected=", ".join(member.name for member in known) + ", random, a file, a folder or hf-hub:owner/name",
        )
    return weights


def _published(member: Any, local_files_only: bool) -> Path:
    path = Path(torch.hub.get_dir(), "checkpoints", member.url.rsplit("/", 1)[-1])
    if path.exists():
        return path
    problem: Exception | None = None
    if not local_files_only:
        digits = re.search(r"-([a-f0-9]{8,})\.", path.name)  # torch.hub's convention: the SHA-256's first digits
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(member.url, str(path), digits and digits[1])
            return path
        except (OSError, HTTPException, RuntimeError) as error:  # offline, cut off, or of another hash
            problem = error
    raise ArtefactError(
        f"The weights {member!r} are not on this machine",
        expected=f"the file {path.name} in {path.parent}",
        got="none, and local_files_only" if problem is None else f"{type(problem).__name__}: {problem}",
        hint=f"Fetch {member.url} and put it there, pass a file as `weights`, or weights='random'.",
    ) from problem


def fill(model: nn.Module, source: str, local_files_only: bool) -> None:
    """Load weights of today's or of a published layout.

    Unlike torchvision's own loader this one never executes what is in a file.

    Raises:
        ArtefactError: as of :func:`invkit.interpretees.load_weights`.
    """
    state = OrderedDict(
        (_DOTTED.sub(r"\1\2", key), value)
        for key, value in read_weights(source, local_files_only=local_files_only).items()
        if not key.startswith(_AUXILIARY)
    )
    # MNASNet reads only what says its version, which safetensors and plain dicts don't
    setattr(state, "_metadata", {"": {"version": model._version}})  # noqa: B010
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ArtefactError(
            f"The weights in {source} do not fit {type(model).__name__}",
            got=" ".join(line.strip() for line in str(error).splitlines()[1:4])[:400],
        ) from error

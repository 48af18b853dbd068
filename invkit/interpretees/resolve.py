"""From a name, a module or an interpretee to an interpretee."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from invkit.core import Interpretee
from invkit.errors import DataError, PreprocessWarning
from invkit.interpretees.module import ModuleInterpretee
from invkit.interpretees.wrapped import bare
from invkit.plugins import ask, load_named
from invkit.utils import distributed

__all__ = ["as_interpretee", "load_model", "warn_of_unknown_preprocessing"]


def load_model(name: str, *, weights: str | Path | None = None, local_files_only: bool = False) -> Interpretee:
    """Load a model that a plugin offers, with its preprocessing.

    Args:
        name: ``prefix:name`` (``timm:resnet18``), or a bare name that exactly one plugin offers.
        weights: None for the best published ones, ``random``, a name that the library knows, or a file, a folder or
            ``hf-hub:owner/name``.
        local_files_only: never download.

    Raises:
        PluginError: no plugin offers it, several do, or the plugin is broken.
        ArtefactError: the weights are not available, or do not fit.

    Example:
        >>> model = load_model("torchvision:resnet18", weights="random")
        >>> model, model.input_shape
        (ModuleInterpretee(ResNet), (224, 224))
    """
    found: Interpretee = load_named("model", name, Interpretee, weights=weights, local_files_only=local_files_only)
    return found


def as_interpretee(model: Any, preprocess: Callable[[Tensor], Tensor] | None = None) -> Interpretee:
    """Return the interpretee of a name or a module; an interpretee is returned as it is.

    A live module is first offered to the plugins, which may know its preprocessing. It stays on its device; a model
    that is loaded by name moves to this process's GPU, if any.

    Args:
        model: a name, an `nn.Module` or an interpretee.
        preprocess: function from images (B, 3, H, W) in [0, 1] to the model's input; replaces what plugins know of the
            model.

    Warns:
        PreprocessWarning: the preprocessing of a module is unknown, and it is given images in [0, 1].

    Raises:
        DataError: not a model, or a `preprocess` for an interpretee that prepares its images itself.
        PluginError: as :func:`load_model`.

    Example:
        >>> from torch import nn
        >>> from invkit.interpretees import Preprocess
        >>> as_interpretee(nn.Conv2d(3, 4, 3), Preprocess(size=32)).input_shape
        (32, 32)
    """
    if isinstance(model, str):
        with warnings.catch_warnings():
            if preprocess is not None:
                warnings.simplefilter("ignore", PreprocessWarning)
            loaded = load_model(model)
        for part in (getattr(loaded, "module", None), preprocess):
            distributed.move_to_device(part)
        return as_interpretee(loaded) if preprocess is None else _prepared(loaded, preprocess)
    if isinstance(model, Interpretee):
        return model if preprocess is None else _prepared(model, preprocess)
    if not isinstance(model, nn.Module):
        raise DataError(
            "Cannot explain this model",
            expected="a torch.nn.Module, a name (timm:resnet18) or an invkit Interpretee",
            got=type(model).__name__,
        )
    claimed: Interpretee | None = ask("claim_model", Interpretee, module=bare(model), preprocess=preprocess)
    if claimed is not None:
        return claimed
    if preprocess is None:
        warn_of_unknown_preprocessing(f"this {type(bare(model)).__name__}")
    return ModuleInterpretee(model, preprocess)


def _prepared(interpretee: Interpretee, preprocess: Callable[[Tensor], Tensor]) -> Interpretee:
    """Return an interpretee with another preprocessing, and the token grid that follows from it."""
    if not isinstance(interpretee, ModuleInterpretee):
        raise DataError(
            f"This {type(interpretee).__name__} prepares its images itself",
            expected="no `preprocess`",
            got=f"{preprocess}",
            hint="Pass it where the interpretee is made.",
        )
    again = ask("claim_model", Interpretee, module=interpretee.module, preprocess=preprocess)
    other = copy(interpretee)
    other.preprocess = preprocess
    other.tokens = again.tokens if isinstance(again, ModuleInterpretee) else interpretee.tokens
    return other


def warn_of_unknown_preprocessing(model: str) -> None:
    """Warn that a model may have been trained on images with another preprocessing.

    Args:
        model: the model as the user knows it, for the message.

    Warns:
        PreprocessWarning: always.

    Example:
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn_of_unknown_preprocessing("this ResNet")
        >>> str(caught[0].message)[:37]
        'Unknown preprocessing of this ResNet:'
    """
    warnings.warn(
        f"Unknown preprocessing of {model}: it gets images in [0, 1] without normalisation. Pass "
        "preprocess=invkit.Preprocess() if it was trained on such images, or its own preprocessing, such as "
        "preprocess=invkit.Preprocess(size=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)).",
        PreprocessWarning,
        stacklevel=4,
    )

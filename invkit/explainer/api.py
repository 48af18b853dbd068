"""`invkit.explain` and `invkit.profile`: one call from a model to its explanation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from invkit.core import Interpretee
from invkit.explainer.explainer import Explainer, as_explainer
from invkit.explainer.validation import default_images, find_layers, one_layer
from invkit.explanation import Explanation, Profile
from invkit.interpretees import as_interpretee

__all__ = ["explain", "profile"]


def explain(
    model: str | nn.Module | Interpretee,
    layer: str | nn.Module,
    data: Any = None,
    *,
    preprocess: Callable[[Tensor], Tensor] | None = None,
    **arguments: Any,
) -> Explanation:
    """Show what a layer of a network represents and what it throws away (paper, sec. 3).

    This is ``Explainer(data, **arguments).explain(model, layer)``: keep the :class:`Explainer` to explain more models
    or layers on the same images.

    Args:
        model: any `nn.Module` that takes images, a plugin's name (``timm:resnet18``) or an :class:`Interpretee`.
        layer: the module itself, or its address: ``features.11``, ``block@1``, ``encoder[0]``, ``input``.
        data: images as in :class:`Explainer`, or an Explainer or the folder of a saved one. None
            for images of the autoencoder if it is a
            generator, else for the built-in ColorDigits at a size that the model takes.
        preprocess: from images in [0, 1] to the model's input. None for what plugins know of the model; if none knows
            it, the model is given [0, 1] with a warning.
        arguments: of :class:`Explainer`.

    Returns:
        the explanation. All its metrics are of held-out images.

    Raises:
        LayerError: an unknown layer, one that never fires, or one without a usable output.
        DataError: images or labels that cannot be used, or too few.
        SettingsError: settings that do not fit the data.
        TrainingError: training diverged.

    Ctrl-C ends the current training and keeps its best weights; the explanation's protocol then says "cut short".

    Example:
        >>> import invkit
        >>> settings = invkit.Settings.tiny()  # for documentation only: the metrics mean nothing
        >>> digits = invkit.color_digits(copies=1)
        >>> explanation = invkit.explain(network, "2", digits, settings=settings)
        >>> explanation.layer
        '2'
    """
    interpretee = as_interpretee(model, preprocess)
    address = one_layer(interpretee, layer)
    return _explainer([(interpretee, [address])], data, arguments).explain(interpretee, address)


def profile(
    model: str | nn.Module | Interpretee | Mapping[str, str | nn.Module | Interpretee],
    layers: str | nn.Module | Sequence[str | nn.Module],
    data: Any = None,
    *,
    preprocess: Callable[[Tensor], Tensor] | None = None,
    **arguments: Any,
) -> Profile:
    """Explain several layers of a model, or a layer of several checkpoints, with the same images and autoencoder.

    This is ``Explainer(data, **arguments).profile(model, layers)``.

    Args:
        model: a model, or several by name (for instance checkpoints), in the order of the curve.
        layers: addresses, modules or globs, in the order of the curve.
        data: as in :func:`explain`.
        preprocess: for all models, as in :func:`explain`.
        arguments: of :class:`Explainer`.

    Raises:
        InvkitError: as :func:`explain`.

    Example:
        >>> import invkit
        >>> digits = invkit.color_digits(copies=1)
        >>> profile = invkit.profile(network, ["2", "4"], digits, settings=invkit.Settings.tiny())
        >>> list(profile.invariance())
        ['2', '4']
    """
    models = model if isinstance(model, Mapping) else {"": model}
    interpretees = {name: as_interpretee(m, preprocess) for name, m in models.items()}
    subjects = [(i, find_layers(i, layers)) for i in interpretees.values()]
    explainer = _explainer(subjects, data, arguments)
    return explainer.profile(interpretees if isinstance(model, Mapping) else interpretees[""], layers)


def _explainer(
    subjects: Sequence[tuple[Interpretee, Sequence[str]]], data: Any, arguments: dict[str, Any]
) -> Explainer:
    """Return the Explainer of some data, built if it is none."""
    if isinstance(data, Explainer) or (isinstance(data, (str, Path)) and Explainer.is_saved_in(data)):
        if arguments:
            names = ", ".join(arguments)
            raise TypeError(f"These arguments were decided when the Explainer was made: {names}")
        return as_explainer(data)
    if data is None:
        data, held_out = default_images(subjects, arguments.get("autoencoder"), arguments.get("size"))
        if held_out is not None:
            arguments = {"held_out": held_out, **arguments}
    return Explainer(data, **arguments)

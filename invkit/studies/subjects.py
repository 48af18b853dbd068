"""Shared by studies of layers: concepts of classes, checks, explanations of completed trainings only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from invkit.core import Interpretee
from invkit.data import Concept, ImageSet, Rows
from invkit.errors import DataError, SettingsError
from invkit.explainer import Explainer
from invkit.explanation import Explanation
from invkit.utils.progress import log

__all__ = ["check_several", "class_concept", "explain_layers"]


def class_concept(images: ImageSet, name: str) -> Concept:
    """Return a concept whose values are classes.

    Raises:
        DataError: the images have no concept of that name, or its values are numbers.
    """
    concept = images.concepts.get(name)
    if concept is None or concept.kind != "class":
        known = [n for n, c in images.concepts.items() if c.kind == "class"]
        raise DataError(
            f"The images have no classes called '{name}'",
            expected=", ".join(known) or "labels, as a concept of classes",
            got="nothing" if concept is None else concept.kind,
            hint="Pass concepts={name: labels}, or a folder with a sub-folder for each class.",
        )
    return concept


def check_several(addresses: Sequence[str]) -> None:
    """Raise an error for fewer than two layers.

    Raises:
        SettingsError: fewer than two.
    """
    if len(addresses) < 2:
        raise SettingsError("A curve over depth needs two layers or more", got=", ".join(addresses))


def explain_layers(
    explainer: Explainer,
    interpretee: Interpretee,
    layers: Sequence[str],
    name: str = "",
    z: Mapping[str, tuple[Rows, Rows]] | None = None,
) -> dict[str, Explanation]:
    """Explain layers of one model; return the explanations by address.

    An interrupted training raises KeyboardInterrupt: a verdict needs completed trainings.

    Args:
        explainer: is fitted if it was not.
        interpretee: the model.
        layers: addresses.
        name: name of the model in progress messages.
        z: result of :meth:`Explainer.representations`, if it was computed before.
    """
    explainer.fit(strict=True)
    found = {}
    for explanation in explainer.explain_each(interpretee, layers, name=name, z=z, strict=True):
        found[explanation.layer] = explanation
        log(f"{name} {explanation.layer}: invariance {explanation.invariance()}".strip())
    return found

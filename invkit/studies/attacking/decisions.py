"""The classes that a network decides between, and how the classes of images map to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from invkit.core import Interpretee
from invkit.data import Concept, ImageSet
from invkit.errors import DataError, SettingsError
from invkit.studies.subjects import class_concept

__all__ = ["Decisions", "decide_all", "decisions_of"]

_BATCH = 64


@dataclass(frozen=True)
class Decisions:
    """The classes that a network decides between.

    Attributes:
        count: number of classes.
        names: their names, if known.
        concept: the images' concept whose classes are the correct decisions; None to take the network's own decisions
            as correct.
        outputs: (K,), the network's class for each class of the concept.
        classes: names of the concept's classes.
    """

    count: int
    names: tuple[str, ...]
    concept: str | None
    outputs: Tensor
    classes: tuple[str, ...] = ()

    def name(self, number: int) -> str:
        """Return the name of a class, or its number if it has no name."""
        return self.names[number] if number < len(self.names) else str(number)

    def number(self, target: int | str) -> int:
        """Return the number of a class: given as a number, as its name in the network, or as its name in the images.

        Raises:
            SettingsError: no such class.
        """
        if isinstance(target, str) and target in self.names:
            return self.names.index(target)
        if isinstance(target, str) and target in self.classes:
            return int(self.outputs[self.classes.index(target)])
        if isinstance(target, str) and target.isdecimal():
            target = int(target)
        if isinstance(target, str) or not 0 <= target < self.count:
            known = ", ".join(self.names[:20]) + (", …" if len(self.names) > 20 else "")
            raise SettingsError("No such target", expected=known or f"0 to {self.count - 1}", got=target)
        return target


def decide_all(interpretee: Interpretee, images: Tensor | ImageSet) -> Tensor:
    """Return the network's decisions, (B,) class numbers."""
    parts = images.batches(_BATCH) if isinstance(images, ImageSet) else images.split(_BATCH)
    return torch.cat([interpretee.decide(part).argmax(1) for part in parts])


def decisions_of(interpretee: Interpretee, scores: Tensor, images: ImageSet, concept: str | None) -> Decisions:
    """Return the classes that a network decides between.

    Classes are matched by name if the network has the names of all classes of the images, else by number.

    Args:
        interpretee: the network.
        scores: its output for some images, (B, C).
        images: images with classes.
        concept: name of the classes; None to take the network's own decisions as correct.

    Raises:
        DataError: an output that is not scores of classes, an unknown concept, or classes that the network does not
            know.
    """
    if not interpretee.is_decision(scores):
        raise DataError(
            "This network makes no decision that an attack could change",
            expected="scores of at least two classes, (B, C)",
            got=f"{tuple(scores.shape)}" if interpretee.scores_classes else "an embedding",
        )
    count = scores.shape[1]
    categories = tuple(interpretee.categories) if len(interpretee.categories) == count else ()  # else of another head
    if concept is None:
        return Decisions(count, categories, None, torch.arange(count))
    classes = class_concept(images, concept)
    return Decisions(
        count, categories or classes.names, concept, _outputs(classes, categories, count), tuple(classes.names)
    )


def _outputs(classes: Concept, categories: Sequence[str], count: int) -> Tensor:
    unknown = [name for name in classes.names if name not in categories]
    if classes.names and not unknown:
        return torch.tensor([categories.index(name) for name in classes.names])
    some = len(unknown) < len(classes.names)
    if some or classes.classes > count or (categories and classes.names and classes.classes != count):
        raise DataError(
            "The network does not decide between these classes",
            expected=f"names of the network's ({', '.join(categories[:4])}, …)" if categories else f"{count} at most",
            got=f"{', '.join(unknown[:4])}, which it does not know" if categories else classes.classes,
            hint="Pass concept=None to take the network's own decisions as correct.",
        )
    return torch.arange(classes.classes)

"""What a network decides between, and what of it the classes of the images are."""

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
        count: how many.
        names: of each, where they are known.
        concept: of the images, whose classes are right decisions; None where the network's own decisions are.
        outputs: (K,), the decision that each class of the concept is.
        classes: their names.
    """

    count: int
    names: tuple[str, ...]
    concept: str | None
    outputs: Tensor
    classes: tuple[str, ...] = ()

    def name(self, number: int) -> str:
        """Return a class's name, or its number where it has none."""
        return self.names[number] if number < len(self.names) else str(number)

    def number(self, target: int | str) -> int:
        """Return the number of a class, by number or by its name in the network or, failing that, among the images.

        Raises:
            SettingsError: there is none.
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
    """Return the class that the network decides for, (B,)."""
    parts = images.batches(_BATCH) if isinstance(images, ImageSet) else images.split(_BATCH)
    return torch.cat([interpretee.decide(part).argmax(1) for part in parts])


def decisions_of(interpretee: Interpretee, scores: Tensor, images: ImageSet, concept: str | None) -> Decisions:
    """Say what a network decides between, of which it has given `scores` (B, C).

    A class of the images is the network's class of that name, where it has the names of all; else that of its number.

    Raises:
        DataError: no scores of classes, no such classes, or others than the network's.
    """
    if not interpretee.is_decision(scores):
        raise DataError(
            "This network takes no decision that an attack could change",
            expected="scores of two classes or more, (B, C)",
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
            got=f"{', '.join(unknown[:4])}, which it has not" if categories else classes.classes,
            hint="Pass concept=None to take the network's own decisions for right.",
        )
    return torch.arange(classes.classes)

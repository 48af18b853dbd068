"""What a network decides between, and what of it the classes of the images are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from invkit.core import Interpretee
from invkit.data import Concept, ImageSet
from invkit.errors import DataError, SettingsError

__all__ = ["Decisions", "decisions_of"]


@dataclass(frozen=True)
class Decisions:
    """The classes that a network decides between.

    Attributes:
        count: how many.
        names: of each, where they are known.
        concept: of the images, whose classes are right decisions; None where the network's own decisions are.
        outputs: (K,), the decision that each class of the concept is.
    """

    count: int
    names: tuple[str, ...]
    concept: str | None
    outputs: Tensor

    def name(self, number: int) -> str:
        """Give a class's name, or its number where it has none."""
        return self.names[number] if number < len(self.names) else str(number)

    def number(self, target: int | str) -> int:
        """Give the number of a class, by number or name.

        Raises:
            SettingsError: there is none.
        """
        if isinstance(target, str) and target in self.names:
            return self.names.index(target)
        if isinstance(target, str) or not 0 <= target < self.count:
            known = ", ".join(self.names[:20]) + (", …" if len(self.names) > 20 else "")
            raise SettingsError("No such target", expected=known or f"0 to {self.count - 1}", got=target)
        return target


def decisions_of(interpretee: Interpretee, scores: Tensor, images: ImageSet, concept: str | None) -> Decisions:
    """Say what a network decides between, of which it has given `scores` (B, C).

    A class of the images is the network's class of that name, where it has the names of all; else that of its number.

    Raises:
        DataError: no scores of classes, or not of these.
    """
    if not interpretee.is_decision(scores):
        raise DataError(
            "This network takes no decision that an attack could change",
            expected="scores of two classes or more, (B, C)",
            got=f"{tuple(scores.shape)}" if interpretee.scores_classes else "an embedding",
        )
    count, categories = scores.shape[1], tuple(interpretee.categories)
    if concept is None:
        return Decisions(count, categories, None, torch.arange(count))
    classes = images.concepts[concept]
    outputs = _outputs(classes, categories, count)
    names = categories or tuple(classes.names)
    return Decisions(count, names, concept, outputs)


def _outputs(classes: Concept, categories: Sequence[str], count: int) -> Tensor:
    if classes.names and set(classes.names) <= set(categories):
        return torch.tensor([categories.index(name) for name in classes.names])
    unlike = bool(classes.names and categories) and classes.classes != count
    if unlike or classes.classes > count:
        raise DataError(
            "The network does not decide between these classes",
            expected=f"names among the network's ({', '.join(categories[:4])}, …)" if unlike else f"{count} at most",
            got=", ".join(classes.names[:4]) + ", …" if unlike else classes.classes,
            hint="Pass concept=None to take the network's own decisions for right.",
        )
    return torch.arange(classes.classes)

"""Edits of held-out images, evaluated by an independent judge."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from invkit.core import Autoencoder, Estimate
from invkit.data import Concept, ImageSet, decode_all
from invkit.errors import DataError
from invkit.evaluation import Judge
from invkit.evaluation.estimate import mean_estimate
from invkit.flows import SemanticFlow
from invkit.utils.random import generator_for

__all__ = ["Edited", "Editor", "Fit", "changes", "judged_edits", "partners"]

#: returns which pairs (image, donor) of a set, given by rows (B,), may be used, (B,) of bool
Fit = Callable[[ImageSet, Tensor, Tensor], Tensor]

_DRAWN = 20  # pairs drawn per pair that is used


@dataclass(frozen=True)
class Editor:
    """A way to edit the images of a held-out set, which are given by their rows.

    Attributes:
        concepts: names of the concepts that it can replace.
        before: returns unedited images (B, 3, S, S) of rows (B,).
        edit: returns images of rows (B,) with a concept of the donors, given by rows (B,) too.
    """

    concepts: Sequence[str]
    before: Callable[[Tensor], Tensor]
    edit: Callable[[Tensor, Tensor, str], Tensor]

    @classmethod
    def of_codes(
        cls,
        concepts: Sequence[str],
        autoencoder: Autoencoder,
        codes: Tensor,
        edit: Callable[[Tensor, Tensor, str], Tensor],
    ) -> Editor:
        """Return an editor that decodes edited codes; `codes` (M, N) are those of all images, `edit` returns (B, N)."""
        return cls(
            concepts,
            lambda rows: decode_all(autoencoder, codes[rows]),
            lambda rows, donors, concept: decode_all(autoencoder, edit(rows, donors, concept)),
        )

    @classmethod
    def of_swaps(cls, autoencoder: Autoencoder, e: SemanticFlow, codes: Tensor) -> Editor:
        """Return the editor of the paper: D(e⁻¹(·)) with e_i of the donor (sec. 3.2)."""
        return cls.of_codes(e.concepts, autoencoder, codes, lambda a, b, c: e.swap(codes[a], codes[b], c))


@dataclass(frozen=True)
class Edited:
    """Held-out images with one concept swapped, and the judge's readings.

    Attributes:
        rows: rows (B,) of the images.
        donors: rows (B,) of the images that the concept is taken from.
        images: edited images, (B, 3, S, S).
        changed: whether each concept changed as judged, (B,) of bool by name.
        apart: whether the judge distinguishes image and donor in the swapped concept, (B,) of bool: by class, or by
            more than its error. Rates are over these pairs.
        groups: groups (B,) of the images; images of one group are dependent.
        donor_groups: groups (B,) of the donors.
    """

    rows: Tensor
    donors: Tensor
    images: Tensor
    changed: Mapping[str, Tensor]
    apart: Tensor
    groups: Tensor
    donor_groups: Tensor

    @property
    def alone(self) -> int:
        """Number of independent images or, if those are fewer, of independent donors."""
        return min(len(groups[self.apart].unique()) for groups in (self.groups, self.donor_groups))

    def rate(self, concept: str) -> Estimate:
        """Return the share of images in which a concept changed; NaN if the judge distinguishes no pair."""
        return self._mean(self.changed[concept].double())

    def stayed(self, concept: str) -> Estimate:
        """Return the share of images in which a concept did not change."""
        return self._mean(1 - self.changed[concept].double())

    def kept(self, swapped: str) -> Estimate | None:
        """Return the share in which other concepts than the swapped one stayed, averaged; None without any."""
        others = [changed.double() for name, changed in self.changed.items() if name != swapped]
        return self._mean(1 - torch.stack(others).mean(0)) if others else None

    def _mean(self, values: Tensor) -> Estimate:
        """Return the mean with its two-way clustered error, by image and donor (Cameron et al., 2011)."""
        if not self.apart.any():
            return Estimate(math.nan, math.nan, 0)
        values, images, donors = (x[self.apart] for x in (values, self.groups, self.donor_groups))
        pairs = images * (int(donors.max()) + 1) + donors
        by_image, by_donor, by_both = (mean_estimate(values, groups) for groups in (images, donors, pairs))
        square = by_image.standard_error**2 + by_donor.standard_error**2 - by_both.standard_error**2
        least = max(by_image.standard_error, by_donor.standard_error)
        error = square if math.isnan(square) else max(least, math.sqrt(max(0.0, square)))  # NaN if a part is
        return replace(by_image, standard_error=error)


def partners(data: ImageSet, concept: str, n: int, *, fit: Fit | None = None, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw images and donors with another value, (B,) rows each; B is n, or less if few pairs fit.

    Args:
        data: images with concepts.
        concept: name of the concept to swap.
        n: number of pairs.
        fit: returns which pairs may be used; None for all.
        seed: seed of the draw, shared by all concepts.

    Raises:
        DataError: no pair fits.
    """
    rows, donors = torch.randint(len(data), (2, _DRAWN * n), generator=generator_for(seed, "pairs of an edit"))
    values = data.concepts[concept].values.reshape(len(data), -1)
    usable = (values[rows] != values[donors]).any(1)
    if fit is not None:
        usable &= fit(data, rows, donors)
    if not usable.any():
        raise DataError(
            f"No pair of images differs in '{concept}'",
            expected="two held-out images with different values",
            hint="Hold out more images, or widen `fit`.",
        )
    return rows[usable][:n], donors[usable][:n]


@torch.no_grad()
def judged_edits(
    data: ImageSet, judge: Judge, editor: Editor, n: int = 600, *, fit: Fit | None = None, seed: int = 0
) -> dict[str, Edited]:
    """Swap each concept for that of another image, and judge which concepts changed.

    The swapped class changed if the judge reads the donor's class, any other class if it reads another than before, a
    number or a colour if it is nearer to the donor's than to its own. The judge reads the values of an image and its
    donor from both as the editor draws them unedited.

    Args:
        data: held-out images with concepts.
        judge: reads all concepts.
        editor: the editor to judge.
        n: number of images for each concept.
        fit: returns which pairs of image and donor may be used.
        seed: seed of the pairs.

    Returns:
        edits by swapped concept.

    Raises:
        DataError: no pair of images fits.
    """
    groups = torch.arange(len(data)) if data.groups is None else data.groups
    found = {}
    for swapped in editor.concepts:
        rows, donors = partners(data, swapped, n, fit=fit, seed=seed)
        images = editor.edit(rows, donors, swapped)
        own, theirs = (judge.read(editor.before(each)) for each in (rows, donors))
        changed = changes(judge, swapped, own, theirs, judge.read(images))
        apart = _apart(data.concepts[swapped].take(rows), own[swapped], theirs[swapped])
        found[swapped] = Edited(rows, donors, images, changed, apart, groups[rows], groups[donors])
    return found


def _apart(concept: Concept, own: Tensor, theirs: Tensor) -> Tensor:
    """Return where the judge's readings differ, for values by more than their root mean square error, (B,) of bool."""
    if concept.kind == "class":
        return own != theirs
    error = (own - concept.values).square().sum(1).mean().sqrt()
    return (own - theirs).norm(dim=1) > error


def changes(
    judge: Judge, swapped: str, own: Mapping[str, Tensor], theirs: Mapping[str, Tensor], edited: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return for each concept in which images it changed, (B,) of bool.

    Args:
        judge: the judge.
        swapped: name of the swapped concept.
        own: its readings of the images before the edit.
        theirs: its readings of the donors.
        edited: its readings after the edit.
    """
    found = {}
    for name, (kind, _) in judge.concepts.items():
        if kind != "class":
            found[name] = judge.moved(edited[name], own[name], theirs[name])
        else:
            found[name] = edited[name] == theirs[name] if name == swapped else edited[name] != own[name]
    return found

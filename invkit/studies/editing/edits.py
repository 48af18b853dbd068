"""Edits of held-out images, and what an independent judge says of them."""

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

__all__ = ["Edited", "Editor", "Fit", "judged_edits", "partners", "went_over"]

#: says which pairs (image, donor) of a set, given by rows (B,), may be used, (B,) of bool
Fit = Callable[[ImageSet, Tensor, Tensor], Tensor]

_DRAWN = 20  # pairs drawn for each that is used


@dataclass(frozen=True)
class Editor:
    """A way to edit the images of a held-out set, which are named by their rows.

    Attributes:
        concepts: that it can swap.
        before: draws images (B, 3, S, S) of rows (B,) unedited.
        edit: draws images of rows (B,) with a concept of the donors (B,), rows too.
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
        """Return one that edits codes (M, N) of all images and decodes them; `edit` gives codes (B, N)."""
        return cls(
            concepts,
            lambda rows: decode_all(autoencoder, codes[rows]),
            lambda rows, donors, concept: decode_all(autoencoder, edit(rows, donors, concept)),
        )

    @classmethod
    def of_swaps(cls, autoencoder: Autoencoder, e: SemanticFlow, codes: Tensor) -> Editor:
        """Return the one of the paper: D(e⁻¹(·)) with e_i of the donor put in (sec. 3.2)."""
        return cls.of_codes(e.concepts, autoencoder, codes, lambda a, b, c: e.swap(codes[a], codes[b], c))


@dataclass(frozen=True)
class Edited:
    """Held-out images with one concept swapped, and what the judge says of them.

    Attributes:
        rows: (B,), which images.
        donors: (B,), from which images the concept is.
        images: (B, 3, S, S), after the swap.
        changed: by judged concept, (B,) of bool: whether it went over.
        apart: (B,) of bool, whether the judge tells image and donor apart in the swapped concept: another class, or
            values that differ by more than it errs. Rates are of these pairs: of others it can say nothing.
        groups: (B,), of the images; those of one group depend on each other.
        donor_groups: (B,), of the donors.
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
        """How many of these images, or of their donors where those are fewer, stand alone."""
        return min(len(groups[self.apart].unique()) for groups in (self.groups, self.donor_groups))

    def rate(self, concept: str) -> Estimate:
        """Return the share of the images in which a concept changed; NaN where the judge tells no pair apart."""
        return self._mean(self.changed[concept].double())

    def stayed(self, concept: str) -> Estimate:
        """Return the share in which it did not."""
        return self._mean(1 - self.changed[concept].double())

    def kept(self, swapped: str) -> Estimate | None:
        """Return the share in which another concept than the swapped stayed, averaged over them; None without any."""
        others = [changed.double() for name, changed in self.changed.items() if name != swapped]
        return self._mean(1 - torch.stack(others).mean(0)) if others else None

    def _mean(self, values: Tensor) -> Estimate:
        """Return the mean; its error is that of images and donors, clustered two ways (Cameron et al., 2011)."""
        if not self.apart.any():
            return Estimate(math.nan, math.nan, 0)
        values, images, donors = (x[self.apart] for x in (values, self.groups, self.donor_groups))
        pairs = images * (int(donors.max()) + 1) + donors
        by_image, by_donor, by_both = (mean_estimate(values, groups) for groups in (images, donors, pairs))
        square = by_image.standard_error**2 + by_donor.standard_error**2 - by_both.standard_error**2
        least = max(by_image.standard_error, by_donor.standard_error)
        error = square if math.isnan(square) else max(least, math.sqrt(max(0.0, square)))  # unknown where a part is
        return replace(by_image, standard_error=error)


def partners(data: ImageSet, concept: str, n: int, *, fit: Fit | None = None, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw images and donors of another value, (B,) rows each; B is n, or less where few pairs fit.

    Args:
        data: images with concepts.
        concept: the one to swap.
        n: how many pairs.
        fit: which pairs may be used; None for all.
        seed: of the draw; all concepts share it.

    Raises:
        DataError: none fits.
    """
    rows, donors = torch.randint(len(data), (2, _DRAWN * n), generator=generator_for(seed, "pairs of an edit"))
    values = data.concepts[concept].values.reshape(len(data), -1)
    usable = (values[rows] != values[donors]).any(1)
    if fit is not None:
        usable &= fit(data, rows, donors)
    if not usable.any():
        raise DataError(
            f"No image can get the '{concept}' of another",
            expected="two held-out images whose values differ",
            hint="Hold out more images, or widen `fit`.",
        )
    return rows[usable][:n], donors[usable][:n]


@torch.no_grad()
def judged_edits(
    data: ImageSet, judge: Judge, editor: Editor, n: int = 600, *, fit: Fit | None = None, seed: int = 0
) -> dict[str, Edited]:
    """Swap each concept for that of another image, and let the judge say which concepts went over.

    The swapped class went over where the judge reads the donor's, any other class where it reads another than before;
    a number or a colour where it lies nearer to the donor's than to its own. What an image and its donor hold, the
    judge reads from them as the editor draws them unedited.

    Args:
        data: held-out images with concepts.
        judge: the reader of all concepts.
        editor: what is judged.
        n: images for each concept.
        fit: which pairs of image and donor may be used.
        seed: of the pairs.

    Returns:
        by swapped concept.

    Raises:
        DataError: no pair of images fits.
    """
    groups = torch.arange(len(data)) if data.groups is None else data.groups
    found = {}
    for swapped in editor.concepts:
        rows, donors = partners(data, swapped, n, fit=fit, seed=seed)
        images = editor.edit(rows, donors, swapped)
        own, theirs = (judge.read(editor.before(each)) for each in (rows, donors))
        changed = went_over(judge, swapped, own, theirs, judge.read(images))
        apart = _apart(data.concepts[swapped].take(rows), own[swapped], theirs[swapped])
        found[swapped] = Edited(rows, donors, images, changed, apart, groups[rows], groups[donors])
    return found


def _apart(concept: Concept, own: Tensor, theirs: Tensor) -> Tensor:
    """Say where the judge's readings differ, for values by more than their root mean square error, (B,) of bool."""
    if concept.kind == "class":
        return own != theirs
    error = (own - concept.values).square().sum(1).mean().sqrt()
    return (own - theirs).norm(dim=1) > error


def went_over(
    judge: Judge, swapped: str, own: Mapping[str, Tensor], theirs: Mapping[str, Tensor], edited: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Say by concept in which images it went over, (B,) of bool, from what the judge reads before, of donors, after."""
    found = {}
    for name, (kind, _) in judge.concepts.items():
        if kind != "class":
            found[name] = judge.moved(edited[name], own[name], theirs[name])
        else:
            found[name] = edited[name] == theirs[name] if name == swapped else edited[name] != own[name]
    return found

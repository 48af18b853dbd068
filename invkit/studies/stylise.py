"""Images with the shape of one and the texture of another, by mixing Fourier amplitudes."""

from __future__ import annotations

import torch
from torch import Tensor

from invkit.data import Concept, ImageSet, to_uint8
from invkit.data.generated import Generated
from invkit.errors import DataError, SettingsError
from invkit.utils.random import generator_for

__all__ = ["cue_conflict", "stylised"]

_BATCH = 512


def stylised(images: Tensor, styles: Tensor, strength: float = 1.0) -> Tensor:
    """Return each image the amplitude spectrum of another, and let it keep its own phase.

    Edges lie in the phase (Oppenheim & Lim, The importance of phase in signals, 1981); colour, contrast and how they
    vary from coarse to fine in the amplitude. Each colour channel is mixed on its own, its mean with it. A stand-in for
    the style transfer of Stylized-ImageNet (Geirhos et al., 2019) that needs no other network.

    Args:
        images: (B, 3, S, S) in [0, 1], whose shape is kept.
        styles: (B, 3, S, S) in [0, 1], whose texture is taken.
        strength: share of the amplitude that is the style's, 0 to 1.

    Returns:
        (B, 3, S, S) in [0, 1].

    Raises:
        SettingsError: a strength out of its range.
    """
    if not 0 <= strength <= 1:
        raise SettingsError("The strength of the style is out of range", expected="0 to 1", got=strength)
    own, style = torch.fft.rfft2(images), torch.fft.rfft2(styles)
    amplitude = torch.lerp(own.abs(), style.abs(), strength)
    mixed = torch.polar(amplitude, own.angle())
    return torch.fft.irfft2(mixed, s=images.shape[-2:]).clamp(0, 1)


def cue_conflict(
    data: ImageSet, seed: int = 0, *, concept: str = "class", copies: int = 1, strength: float = 1.0
) -> ImageSet:
    """Return images whose shape is of one class and whose texture is of another, drawn independently.

    The two agree by chance, for about one image in as many as there are classes: the share of variance of one then says
    nothing of the other. Concepts: `shape`, the class of the image; `texture`, that of its style. Images are dealt into
    blocks of `copies` + 1, in which each has the style of each other once; a block is one group, since two images made
    of one content, or of one style, depend on each other.

    Args:
        data: images with a concept of classes; those of one group are dealt into one block.
        seed: of the blocks.
        concept: its name.
        copies: how many styles each image is given.
        strength: as of :func:`stylised`.

    Raises:
        DataError: no such classes, images that a decoder makes, or too few groups for so many styles.
    """
    known = data.concepts.get(concept)
    if known is None or known.kind != "class" or isinstance(data.pixels, Generated):
        raise DataError(
            "Shape and texture can only be set against each other in images with classes",
            expected=f"stored images, with classes called '{concept}'",
            got=", ".join(f"{name} ({c.kind})" for name, c in data.concepts.items()) or "no labels",
        )
    groups = torch.arange(len(data)) if data.groups is None else data.groups
    if len(groups.unique()) <= copies:
        raise DataError(
            "There are too few images to take styles from", expected=f"{copies + 1} groups", got=len(groups.unique())
        )
    rows = torch.arange(len(data)).repeat(copies)
    styles, blocks = _dealt(groups, copies, generator_for(seed, "styles"))
    pixels = [
        to_uint8(stylised(data.images(own), data.images(theirs), strength))
        for own, theirs in zip(rows.split(_BATCH), styles.split(_BATCH), strict=True)
    ]
    concepts = {
        name: Concept("class", known.values[chosen], known.names)
        for name, chosen in (("shape", rows), ("texture", styles))
    }
    return ImageSet(torch.cat(pixels), concepts, blocks[rows], data.indices_of(rows))


def _dealt(groups: Tensor, copies: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the rows of each image's styles, (copies · N,), and the block of each image, (N,).

    Groups are dealt into blocks of `copies` + 1, the last of which takes what is left over; k places further on in its
    block lies the group of an image's k-th style, any one of its images.
    """
    group, counts = groups.unique(return_inverse=True, return_counts=True)[1:]
    order = torch.randperm(len(counts), generator=generator)
    place = order.argsort()[group]
    block = (place // (copies + 1)).clamp(max=max(1, len(counts) // (copies + 1)) - 1)
    start = block * (copies + 1)
    length = torch.where(block == block.max(), len(counts) - start, copies + 1)
    members, first = group.argsort(stable=True), counts.cumsum(0) - counts
    styles = []
    for k in range(1, copies + 1):
        other = order[start + (place - start + k) % length]
        member = (torch.rand(len(groups), generator=generator) * counts[other]).long()
        styles.append(members[first[other] + member])
    return torch.cat(styles), block

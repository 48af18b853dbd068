"""Images with the shape of one image and the texture of another, by mixing Fourier amplitudes."""

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
    """Return images with the phase of one image and the amplitude spectrum of another.

    The phase holds edges (Oppenheim & Lim, The importance of phase in signals, 1981), the amplitude colour, contrast
    and spatial frequencies. Each colour channel is mixed separately, including its mean. This replaces the style
    transfer of Stylized-ImageNet (Geirhos et al., 2019), without another network.

    Args:
        images: (B, 3, S, S) in [0, 1]; their shape is kept.
        styles: (B, 3, S, S) in [0, 1]; their texture is taken.
        strength: share of the style in the amplitude, 0 to 1.

    Returns:
        (B, 3, S, S) in [0, 1].

    Raises:
        SettingsError: a strength out of range.

    Example:
        >>> import torch
        >>> images, styles = torch.rand(2, 2, 3, 16, 16)
        >>> invkit.studies.stylised(images, styles).shape
        torch.Size([2, 3, 16, 16])
        >>> torch.allclose(invkit.studies.stylised(images, styles, strength=0.0), images, atol=1e-5)
        True
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
    """Return images with the shape of one class and the texture of another, drawn independently.

    Shape and texture agree by chance only, so that the share of variance of one does not depend on the other. The
    result has the concepts `shape`, the class of the image, and `texture`, the class of its style. Images are divided
    into blocks of `copies` + 1, in which each has the style of each other once. A block is one group, since images of
    one content, or of one style, are not independent.

    Args:
        data: images with classes; images of one group are put into one block.
        seed: seed of the blocks.
        concept: name of the classes.
        copies: number of styles of each image.
        strength: strength of the style, as in :func:`stylised`.

    Returns:
        `copies` images for each image.

    Raises:
        DataError: no such classes, generated images, or too few groups for so many styles.

    Example:
        >>> digits = invkit.color_digits(copies=1)
        >>> conflicts = invkit.studies.cue_conflict(digits, concept="digit")
        >>> list(conflicts.concepts), len(conflicts) == len(digits)
        (['shape', 'texture'], True)
    """
    known = data.concepts.get(concept)
    if known is None or known.kind != "class" or isinstance(data.pixels, Generated):
        raise DataError(
            "Cue conflicts can only be made of images with classes",
            expected=f"stored images, with classes called '{concept}'",
            got=", ".join(f"{name} ({c.kind})" for name, c in data.concepts.items()) or "no labels",
        )
    groups = torch.arange(len(data)) if data.groups is None else data.groups
    if len(groups.unique()) <= copies:
        raise DataError("Too few images to take styles from", expected=f"{copies + 1} groups", got=len(groups.unique()))
    rows = torch.arange(len(data)).repeat(copies)
    styles, blocks = _draw_styles(groups, copies, generator_for(seed, "styles"))
    pixels = [
        to_uint8(stylised(data.images(own), data.images(theirs), strength))
        for own, theirs in zip(rows.split(_BATCH), styles.split(_BATCH), strict=True)
    ]
    concepts = {
        name: Concept("class", known.values[chosen], known.names)
        for name, chosen in (("shape", rows), ("texture", styles))
    }
    return ImageSet(torch.cat(pixels), concepts, blocks[rows], data.indices_of(rows))


def _draw_styles(groups: Tensor, copies: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the rows of each image's styles, (copies · N,), and the block of each image, (N,).

    Groups are divided into blocks of `copies` + 1; the last block takes the remainder. The k-th style of an image is a
    random image of the group k places further on in its block.
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

"""What an independent judge reads from samples and edits of the demo's explanations."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from invkit.core import Estimate
from invkit.data import ImageSet, decode_all, encode_all, evenly_spaced
from invkit.evaluation import Judge
from invkit.explanation import Explanation
from invkit.studies.editing.edits import Editor, judged_edits
from invkit.utils.io import nan_to_none
from invkit.utils.random import generator_for

__all__ = ["agreement", "edit_rates", "legible", "spread"]


def agreement(explanation: Explanation, judge: Judge, concept: str = "digit", n: int = 500) -> Estimate:
    """Return the share of n samples in which the judge reads the class of the held-out image behind the sample."""
    rows, read = _read_samples(explanation, judge, concept, n // 2, 2)
    right = (read == explanation.held_out.data.concepts[concept].values[rows, None]).float()
    by_image = right.mean(1)
    return Estimate(float(right.mean()), float(by_image.std() / math.sqrt(len(by_image))), right.numel())


def spread(explanation: Explanation, judge: Judge, concept: str, n: int = 100) -> float:
    """Return the standard deviation of a colour over samples of one image, as the judge reads it; the mean over n."""
    return float(_read_samples(explanation, judge, concept, n, 8)[1].std(1).mean())


@torch.no_grad()
def _read_samples(explanation: Explanation, judge: Judge, concept: str, n: int, each: int) -> tuple[Tensor, Tensor]:
    """Return the rows (n,) of some held-out images, and what the judge reads from samples of each, (n, each, …).

    Every sample draws its own v. If all images shared a few v, averaging over images would not reduce the error
    that comes from these few.
    """
    rows = evenly_spaced(len(explanation.held_out.data), n)
    generator = generator_for(0, "judged samples")
    t, z = explanation.t, explanation.held_out.z[rows]
    latents = t.sample(t.perceive(z, generator), each, generator).flatten(0, 1)
    return rows, judge.read(decode_all(explanation.autoencoder, latents))[concept].unflatten(0, (len(rows), each))


def edit_rates(explanation: Explanation, judge: Judge, n: int = 600) -> Mapping[str, dict[str, float | None]]:
    """Swap each concept for that of another image, and return how often the judge sees each concept change.

    Only images are counted in which the judge can distinguish the two values. The digit counts as changed by a swap
    of colours if it is read as any other.

    Returns:
        by swapped concept and judged concept, a share of the images; None if no image could be counted.
    """
    assert explanation.e is not None
    data = explanation.held_out.data
    codes = encode_all(explanation.autoencoder, data).mean
    editor = Editor.of_swaps(explanation.autoencoder, explanation.e, codes)
    found = judged_edits(data, judge, editor, n, fit=legible)
    rates: dict[str, dict[str, float | None]] = nan_to_none(
        {swapped: {name: edited.rate(name).value for name in edited.changed} for swapped, edited in found.items()}
    )
    return rates


def legible(data: ImageSet, rows: Tensor, donors: Tensor) -> Tensor:
    """Return for each pair whether the donor has another digit, and colours that leave the edited digit legible.

    Foreground and background of the edited images are at least 0.5 apart, as those of the data set are.
    """
    foreground, background, digit = (data.concepts[c].values for c in ("foreground", "background", "digit"))
    apart = [(foreground[a] - background[b]).norm(dim=1) >= 0.5 for a, b in ((rows, donors), (donors, rows))]
    return apart[0] & apart[1] & (digit[rows] != digit[donors])

"""Independent judges: networks, trained apart from any explanation, that read concepts from images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from invkit.data import Codes, Concept, ImageSet, concatenate_images, decode_all, to_uint8
from invkit.evaluation import Features, Judge, JudgeTask
from invkit.explainer import Explainer
from invkit.interpretees import ModuleInterpretee
from invkit.training import FitSettings, fit
from invkit.utils import distributed
from invkit.utils.random import seeded

__all__ = ["judge_features", "skill", "trained_judge"]

_JUDGE = FitSettings(steps=800, batch_size=128, learning_rate=3e-3, evaluate_every=100, precision="auto")
_PART = 1024  # images that are decoded at once


def trained_judge(explainer: Explainer, *, redrawn: bool = True, settings: FitSettings = _JUDGE) -> Judge:
    """Train the judge of all concepts on images and on reconstructions of others.

    It has to read what D draws: trained on images alone it misreads one reconstruction in thirteen.

    Args:
        explainer: fitted.
        redrawn: whether every second image is a reconstruction. False if it must not know this decoder.
        settings: settings of its training.
    """
    with seeded(explainer.seed, "build", "judge"):
        judge = Judge.of(explainer.train_copies)
    path = explainer.path("judge", vars(settings), redrawn, judge.concepts, *explainer.labels)
    parts = [(explainer.train_copies, explainer.codes), (explainer.held_out, explainer.held_out_codes)]
    sets = [_half_redrawn(explainer, *part) if redrawn else part[0] for part in parts]
    judge.to(distributed.device())
    fit(JudgeTask(judge, *sets), settings, path=path, seed=explainer.seed + 1, strict=True)
    return judge.cpu()


@torch.no_grad()
def _half_redrawn(explainer: Explainer, data: ImageSet, codes: Codes) -> ImageSet:
    """Replace every second image by its reconstruction D(E_μ(x))."""

    def parts() -> Iterator[Tensor]:
        for rows in torch.arange(len(data)).split(2 * _PART):
            pixels = to_uint8(data.images(rows))
            pixels[::2] = to_uint8(decode_all(explainer.autoencoder, codes.mean[rows[::2]]))
            yield pixels

    return ImageSet(concatenate_images(parts(), len(data)), data.concepts)


def judge_features(judge: Judge) -> Features:
    """Return the last feature maps of a judge, averaged over positions, as features for distances."""
    interpretee = ModuleInterpretee(judge)
    return Features(interpretee, interpretee.resolve(judge.trunk[-2]))


def skill(judge: Judge, images: Tensor, concepts: Mapping[str, Concept]) -> dict[str, float]:
    """Return how well a judge reads each concept from images (M, 3, S, S): 0 is chance, 1 is all right.

    For classes it is the mean recall of those that occur, rescaled so that chance is 0; NaN if a single one occurs. For
    numbers and colours it is R².
    """
    from sklearn.metrics import r2_score

    read, found = judge.read(images), {}
    for name, concept in concepts.items():
        truth, own = concept.values, read[name]
        found[name] = _recall(truth, own) if concept.kind == "class" else float(r2_score(truth.numpy(), own.numpy()))
    return found


def _recall(truth: Tensor, read: Tensor) -> float:
    there = truth.unique()
    recall = torch.stack([(read[truth == each] == each).double().mean() for each in there]).mean()
    return float(1 - (1 - recall) * len(there) / (len(there) - 1)) if len(there) > 1 else math.nan

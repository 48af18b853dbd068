"""A network trained here to name the classes of images, as they are or each with the texture of another."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invkit.data import ImageSet, evenly_spaced
from invkit.data.augment import random_flip_and_crop
from invkit.interpretees import Preprocess
from invkit.studies.stylise import stylised
from invkit.training import FitSettings, Task, fit
from invkit.utils.io import content_hash
from invkit.utils.random import generator_for

__all__ = ["FIT", "PREPROCESS", "train_classifier"]

FIT = FitSettings(
    steps=1200, batch_size=64, learning_rate=3e-3, weight_decay=0.05, evaluate_every=200, precision="auto"
)
PREPROCESS = Preprocess(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
_JUDGED = 512  # held-out images at each evaluation


class _ClassTask(Task):
    """Cross-entropy of classes, on images as they are or each with the texture of another.

    Args:
        module: the network.
        data: training images.
        held_out: images to judge by, prepared in the same way.
        concept: name of the classes.
        preprocess: of the network.
        strength: of the style, 0 for none.
        mirror: mirror and crop training images.
    """

    def __init__(
        self,
        module: nn.Module,
        data: ImageSet,
        held_out: ImageSet,
        concept: str,
        preprocess: Preprocess,
        strength: float,
        mirror: bool,
    ) -> None:
        self.title = f"{type(module).__name__} on {'stylised' if strength else 'plain'} images"
        self.module, self.rows = module, len(data)
        self._data, self._concept, self._preprocess = data, concept, preprocess
        self._strength, self._mirror = strength, mirror
        rows = evenly_spaced(len(held_out), _JUDGED)
        self._images = self._styled(held_out.images(rows), held_out, generator_for(0, "held-out styles"))
        self._labels = held_out.concepts[concept].values[rows]

    def _styled(self, images: Tensor, data: ImageSet, generator: torch.Generator) -> Tensor:
        if not self._strength:
            return images
        styles = data.images(torch.randint(len(data), (len(images),), generator=generator))
        return stylised(images, styles, self._strength)

    def loss(self, module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return the cross-entropy, with styles drawn anew at each step."""
        images = self._styled(self._data.images(rows), self._data, generator)
        images = random_flip_and_crop(images, generator) if self._mirror else images
        return F.cross_entropy(self._scores(module, images), self._data.concepts[self._concept].values[rows])

    def validation_loss(self, module: nn.Module) -> float:
        """Return that of held-out images."""
        return float(F.cross_entropy(self._scores(module, self._images), self._labels))

    def _scores(self, module: nn.Module, images: Tensor) -> Tensor:
        scores: Tensor = module(self._preprocess(images).contiguous(memory_format=torch.channels_last))
        return scores.float()


def train_classifier(
    module: nn.Module,
    data: ImageSet,
    held_out: ImageSet,
    *,
    concept: str,
    preprocess: Preprocess = PREPROCESS,
    strength: float = 0.0,
    mirror: bool = False,
    settings: FitSettings = FIT,
    seed: int = 0,
    cache: Path | None = None,
) -> nn.Module:
    """Train a network to name the class of an image, and give it, ready to be explained.

    Args:
        module: a new network, of a score for each class.
        data: images with classes.
        held_out: images to judge by.
        concept: name of the classes.
        preprocess: from images in [0, 1] to the network's input.
        strength: of the style of another image that each is given, as of :func:`stylised`; 0 leaves images as they are.
        mirror: mirror and crop training images, for photographs.
        settings: training.
        seed: of the images' order, and of styles.
        cache: folder in which it is kept.

    Raises:
        KeyboardInterrupt: training was interrupted; with a cache it resumes there.
    """
    module = module.to(memory_format=torch.channels_last)
    key = content_hash(
        data.fingerprint(), held_out.fingerprint(), vars(settings), concept, vars(preprocess), strength, mirror, seed,
        module.state_dict(),
    )  # fmt: skip
    path = None if cache is None else cache / f"classifier-{key}.safetensors"
    task = _ClassTask(module, data, held_out, concept, preprocess, strength, mirror)
    if not fit(task, settings, path=path, seed=seed).complete:
        raise KeyboardInterrupt
    return module.eval()

"""Two networks that differ in what they were trained on alone: images as they are, and with others' textures."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invkit.data import ImageSet, evenly
from invkit.data.augment import mirrored_and_cropped
from invkit.interpretees import ModuleInterpretee, Preprocess
from invkit.seeds import generator_for, seeded
from invkit.serialize import fingerprint
from invkit.studies.preparing import class_concept
from invkit.studies.stylise import stylised
from invkit.training import FitSettings, Task, fit_or_load

__all__ = ["FIT", "LAYERS", "SmallNet", "train_twins"]

#: layers to explain, from early to late
LAYERS = ("block1", "block2", "block3", "pool")
FIT = FitSettings(steps=1200, batch_size=64, learning_rate=3e-3, weight_decay=0.05, evaluate_every=200, bf16=True)
_PREPROCESS = Preprocess(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
_JUDGED = 512  # held-out images at each evaluation


class SmallNet(nn.Module):
    """Three blocks of two convolutions with batch norm, average pooling, scores.

    Args:
        classes: number of scores.
        width: channels of the first block.
    """

    def __init__(self, classes: int, width: int = 24) -> None:
        super().__init__()
        self.block1 = _block(3, width)
        self.block2 = _block(width, 2 * width)
        self.block3 = _block(2 * width, 4 * width)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.scores = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Give scores (B, classes) of prepared images (B, 3, S, S)."""
        scores: Tensor = self.scores(self.pool(self.block3(self.block2(self.block1(x)))))
        return scores


def _block(inputs: int, outputs: int) -> nn.Sequential:
    convolutions = [nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)]
    return nn.Sequential(*(part for c in convolutions for part in (c, nn.BatchNorm2d(outputs), nn.ReLU())),
                         nn.MaxPool2d(2))  # fmt: skip


class _ClassTask(Task):
    """Cross-entropy of classes, on images as they are or each with the texture of another.

    Args:
        module: the network.
        data: training images.
        held_out: images to judge by, prepared in the same way.
        concept: name of the classes.
        strength: of the style, 0 for none.
        mirror: mirror and crop training images.
    """

    def __init__(
        self, module: nn.Module, data: ImageSet, held_out: ImageSet, concept: str, strength: float, mirror: bool
    ) -> None:
        self.title = f"network on {'stylised' if strength else 'plain'} images"
        self.module, self.rows = module, len(data)
        self._data, self._concept, self._strength, self._mirror = data, concept, strength, mirror
        rows = evenly(len(held_out), _JUDGED)
        self._images = self._styled(held_out.images(rows), held_out, generator_for(0, "held-out styles"))
        self._labels = held_out.concepts[concept].values[rows]

    def _styled(self, images: Tensor, data: ImageSet, generator: torch.Generator) -> Tensor:
        if not self._strength:
            return images
        styles = data.images(torch.randint(len(data), (len(images),), generator=generator))
        return stylised(images, styles, self._strength)

    def loss(self, module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Give the cross-entropy, with styles drawn anew at each step."""
        images = self._styled(self._data.images(rows), self._data, generator)
        images = mirrored_and_cropped(images, generator) if self._mirror else images
        return F.cross_entropy(_scores(module, images), self._data.concepts[self._concept].values[rows])

    def held_out(self, module: nn.Module) -> float:
        """Give that of held-out images."""
        return float(F.cross_entropy(_scores(module, self._images), self._labels))


def _scores(module: nn.Module, images: Tensor) -> Tensor:
    scores: Tensor = module(_PREPROCESS(images).contiguous(memory_format=torch.channels_last))
    return scores.float()


def train_twins(
    data: ImageSet,
    held_out: ImageSet,
    *,
    concept: str = "class",
    strength: float = 1.0,
    mirror: bool = False,
    settings: FitSettings = FIT,
    seed: int = 0,
    cache: Path | None = None,
    progress: bool = True,
) -> dict[str, ModuleInterpretee]:
    """Train a small network on images as they are and its twin, from the same weights, on stylised ones.

    Both learn to name the class of the image; for the twin its texture is that of another image.

    Args:
        data: images with classes.
        held_out: images to judge by.
        concept: name of the classes.
        strength: as of :func:`stylised`.
        mirror: mirror and crop training images, for photographs.
        settings: training.
        seed: of weights and every draw.
        cache: folder in which they are kept.
        progress: show it.

    Returns:
        `plain` and `stylised`, by name.

    Raises:
        DataError: no such classes.
        KeyboardInterrupt: training was interrupted; with a cache it resumes there.
    """
    classes = class_concept(data, concept).classes
    twins = {}
    for name, own in (("plain", 0.0), ("stylised", strength)):
        with seeded(seed, "small network"):
            module = SmallNet(classes).to(memory_format=torch.channels_last)
        key = fingerprint(data.fingerprint(), held_out.fingerprint(), vars(settings), concept, own, mirror, seed)
        path = None if cache is None else cache / f"twin-{key}.safetensors"
        task = _ClassTask(module, data, held_out, concept, own, mirror)
        if not fit_or_load(task, settings, path=path, seed=seed, progress=progress).complete:
            raise KeyboardInterrupt
        twins[name] = ModuleInterpretee(module.eval(), _PREPROCESS, data.concepts[concept].names)
    return twins

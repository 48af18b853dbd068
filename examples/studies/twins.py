"""Two networks that differ in what they were trained on alone: images as they are, and with others' textures."""

from __future__ import annotations

from pathlib import Path

from classifiers import FIT, PREPROCESS, train_classifier
from torch import Tensor, nn

from invkit.data import ImageSet
from invkit.interpretees import ModuleInterpretee
from invkit.studies.subjects import class_concept
from invkit.training import FitSettings
from invkit.utils.random import seeded

__all__ = ["LAYERS", "SmallNet", "train_twins"]

#: layers to explain, from early to late
LAYERS = ("block1", "block2", "block3", "pool")


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
        """Return scores (B, classes) of prepared images (B, 3, S, S)."""
        scores: Tensor = self.scores(self.pool(self.block3(self.block2(self.block1(x)))))
        return scores


def _block(inputs: int, outputs: int) -> nn.Sequential:
    convolutions = [nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)]
    return nn.Sequential(*(part for c in convolutions for part in (c, nn.BatchNorm2d(outputs), nn.ReLU())),
                         nn.MaxPool2d(2))  # fmt: skip


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
            module = SmallNet(classes)
        shared = {"mirror": mirror, "settings": settings, "seed": seed, "cache": cache}
        module = train_classifier(module, data, held_out, concept=concept, strength=own, **shared)
        twins[name] = ModuleInterpretee(module, PREPROCESS, data.concepts[concept].names)
    return twins

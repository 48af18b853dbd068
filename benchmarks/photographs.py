"""Photographs from a folder: an autoencoder, a small classifier, and what its layers keep, from early to late.

python benchmarks/photographs.py FOLDER [OUT]

FOLDER has a sub-folder for each class. Half an hour on two cores for some hundreds of photographs at 64 px.
"""

import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import invkit
from invkit.data.augment import random_flip_and_crop
from invkit.report.figures import sample_sheet
from invkit.utils.random import generator_for, seeded

SIZE, STEPS, RATE = 64, 1200, 3e-3
LAYERS = ("block2", "block3", "block4", "pool")
PREPROCESS = invkit.Preprocess(mean=(0.5, 0.5, 0.5))


def block(a, b):
    convolutions = [nn.Conv2d(a, b, 3, padding=1), nn.Conv2d(b, b, 3, padding=1)]
    parts = [part for c in convolutions for part in (c, nn.BatchNorm2d(b), nn.ReLU())]
    return nn.Sequential(*parts, nn.MaxPool2d(2))


class Classifier(nn.Module):
    """Four blocks of two convolutions, 32×32 to 4×4, average pooling, scores."""

    def __init__(self, classes):
        super().__init__()
        self.block1, self.block2, self.block3, self.block4 = (
            block(*w) for w in ((3, 16), (16, 32), (32, 64), (64, 128))
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.scores = nn.Linear(128, classes)

    def forward(self, x):
        return self.scores(self.pool(self.block4(self.block3(self.block2(self.block1(x))))))


def trained_classifier(train, test):
    images, labels = train.images(), train.concepts["class"].values
    with seeded(0, "classifier"):
        model = Classifier(len(train.concepts["class"].names)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05, fused=True)
    model.train()
    for step in range(STEPS):
        generator = generator_for(0, "classifier", step)
        rows = torch.randint(len(images), (64,), generator=generator)
        x = PREPROCESS(random_flip_and_crop(images[rows], generator))
        loss = F.cross_entropy(model(x), labels[rows], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / STEPS))
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        right = (model(PREPROCESS(test.images())).argmax(1) == test.concepts["class"].values).float()
    print(f"classifier: held-out accuracy {right.mean():.3f}")
    return model


def main(folder, out):
    out.mkdir(parents=True, exist_ok=True)
    images = invkit.as_image_set(folder, size=SIZE)
    train, test = images.split(0.15, 0)
    test = test.match_classes(train)
    trained = invkit.train_autoencoder(train, held_out=test, cache=out / "cache", sheets=out / "sheets")
    print(f"{trained}, {trained.result.seconds / 60:.1f} min")
    trained.to_html(out / "autoencoder.html")
    model = trained_classifier(train, test)
    profile = invkit.profile(
        model, LAYERS, train, held_out=test, preprocess=PREPROCESS, autoencoder=trained, cache=out / "cache"
    )
    profile.to_html(out / "profile.html")
    before = None
    for name, explanation in profile.explanations.items():
        invariance = explanation.invariance()
        rise = "" if before is None else f", rise {invariance - before}"
        print(f"{name}: invariance {invariance}{rise}, information {explanation.metrics['information']:.1f} nats")
        before = invariance
    shown = test.images(invkit.data.evenly_spaced(len(test), 8))
    seen = profile[LAYERS[0]].reconstruct(shown)
    for name in (LAYERS[0], LAYERS[-1]):
        sheet = sample_sheet(shown, seen, profile[name].sample(shown, n=6), name)
        sheet.savefig(out / f"{name}.png", dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "photographs-output"))

"""Time capturing a layer, as ratios within one run: to the bare forward pass, to torchvision's and captum's capture.

python benchmarks/capture.py

The bare pass ends at the layer too: it is the network's children up to it, without hooks. Rounds alternate, and the
median of each round's ratio is printed, so that a machine's ups and downs cancel.
"""

import statistics
import time

import torch
from captum.attr import LayerActivation
from torch import nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor

from invkit.interpretees import ModuleInterpretee

ROUNDS, BATCH, LAYER = 15, 8, "layer3"


def main():
    torch.manual_seed(0)
    model = models.resnet50().eval()
    images = torch.rand(BATCH, 3, 224, 224)
    children = dict(model.named_children())
    names = list(children)
    bare = nn.Sequential(*(children[name] for name in names[: names.index(LAYER) + 1]))
    interpretee = ModuleInterpretee(model)
    extractor = create_feature_extractor(model, [LAYER])
    activation = LayerActivation(model, model.get_submodule(LAYER))
    ways = {
        "bare forward up to the layer": lambda: bare(images),
        "invkit": lambda: interpretee.represent(images, [LAYER])[LAYER],
        "torchvision create_feature_extractor": lambda: extractor(images)[LAYER],
        "captum LayerActivation": lambda: activation.attribute(images),
    }
    times = {name: [] for name in ways}
    with torch.no_grad():
        expected = bare(images)
        for way in ways.values():
            torch.testing.assert_close(way(), expected)
        for _ in range(ROUNDS):
            for name, way in ways.items():
                begun = time.perf_counter()
                way()
                times[name].append(time.perf_counter() - begun)
    base = times["bare forward up to the layer"]
    for name, seconds in times.items():
        ratio = statistics.median(a / b for a, b in zip(seconds, base, strict=True))
        print(f"{name:<38} {ratio:.3f} × bare, {statistics.median(seconds):.3f} s")


if __name__ == "__main__":
    main()

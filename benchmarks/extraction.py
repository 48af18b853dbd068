"""Latents of all of ResNet-50's stages from one forward pass: invkit against the bare model and other libraries.

python benchmarks/extraction.py [images, 2000] [--layers layer1,layer2,layer3,layer4,avgpool] [--default-malloc]

For each batch of 224 px every contestant normalises the images and gives the outputs of all layers, compared first; the
bare model is the network's children up to the last of them, without hooks, and gives its output alone. They take turns
batch by batch, each time in another order, and a ratio is the median of the batches', with its standard error by their
quartiles, so that a machine's ups and downs cancel; `level` is less than two of these below the mark. Images and
weights are random.

glibc gives memory back after each layer and takes it again, which costs all of them up to a tenth, and one or the
other some hundredths more, as it falls out. The heap is therefore kept, unless --default-malloc is given. Batches are
of 8 images, since what is larger than 32 MiB is mapped anew each time whatever is set.

thingsvision is left out: 2.7.3 pins torchvision 0.15.2, transformers 4.40.1 and numpy below 2. The newest version that
pip finds beside invkit's environment, 1.4.4 of 2022, brings tensorflow and gives one layer a pass.
"""

import argparse
import ctypes
import math
import random
import statistics
import time
from collections import OrderedDict

import torch
from captum.attr import LayerActivation
from torch import nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor

from invkit.interpretees import IMAGENET, ModuleInterpretee

STAGES, BATCH, SIZE = "layer1,layer2,layer3,layer4,avgpool", 8, 224
MARKS = {"bare model": 0.95}  # the speed that invkit must have relative to it; 1 for all others


def keep_heap():
    """Have glibc keep freed memory (mallopt's M_MMAP_THRESHOLD and M_TRIM_THRESHOLD); elsewhere nothing is done."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(-3, 32 * 2**20)
        mallopt(-1, 2**31 - 1)


def up_to(model, layers):
    """Return the network's children up to the last of the layers, which are some of them."""
    children = list(model.named_children())
    last = max(k for k, (name, _) in enumerate(children) if name in layers)
    return nn.Sequential(OrderedDict(children[: last + 1]))


def by_hand(bare, x):
    found = {}
    for name, child in bare.named_children():
        found[name] = x = child(x)
    return found


def ways_of(model, layers):
    bare = up_to(model, layers)
    interpretee, extractor = ModuleInterpretee(model, IMAGENET), create_feature_extractor(model, layers)
    activation = LayerActivation(model, [model.get_submodule(name) for name in layers])
    return {
        "invkit": lambda images: interpretee.represent(images, layers),
        "bare model": lambda images: bare(IMAGENET(images)),
        "torchvision create_feature_extractor": lambda images: extractor(IMAGENET(images)),
        "captum LayerActivation": lambda images: dict(zip(layers, activation.attribute(IMAGENET(images)), strict=True)),
    }


@torch.no_grad()
def main(images, layers):
    torch.manual_seed(0)
    model = models.resnet50().eval()
    ways = ways_of(model, layers)
    times = {name: [] for name in ways}
    for k in range(-1, math.ceil(images / BATCH)):
        seen = torch.rand(BATCH, 3, SIZE, SIZE)
        if k < 0:  # the first batch is to compare, and to warm up
            expected = by_hand(up_to(model, layers), IMAGENET(seen))
            for name, way in ways.items():
                found = way(seen)
                for layer in layers if name != "bare model" else ():
                    torch.testing.assert_close(found[layer], expected[layer])
            continue
        for name in random.Random(k).sample(list(ways), len(ways)):
            begun = time.perf_counter()
            ways[name](seen)
            times[name].append(time.perf_counter() - begun)
    missed = 0
    for name, seconds in times.items():
        line = f"{name:<38} {BATCH * len(seconds) / sum(seconds):7.1f} images/s"
        if name != "invkit":
            ratios = [other / own for other, own in zip(seconds, times["invkit"], strict=True)]
            lower, speed, upper = statistics.quantiles(ratios, n=4)
            error = 0.93 * (upper - lower) / math.sqrt(len(ratios))
            mark = MARKS.get(name, 1)
            verdict = "ok" if speed >= mark else "level" if speed + 2 * error >= mark else "MISS"
            missed += verdict == "MISS"
            line += f"   invkit at {speed:.3f} ± {error:.3f} of its speed  {verdict}, at least {mark}"
        print(line)
    print(f"{missed} marks missed")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("images", nargs="?", type=int, default=2000)
    parser.add_argument("--layers", default=STAGES)
    parser.add_argument("--default-malloc", action="store_true")
    options = parser.parse_args()
    if not options.default_malloc:
        keep_heap()
    main(options.images, options.layers.split(","))

"""Wall time and peak memory of `invkit.profile` against the number of images and of layers.

python benchmarks/scaling.py [--most 100000]

Made-up images of 28 px, a convolutional network of 16 blocks, an autoencoder that needs no training, flows of 60 steps:
what is left is what grows. Each cell is a process of its own; memory is its peak beyond that of the images themselves.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace

IMAGES, LAYERS, STEPS = (1000, 10_000, 100_000), (1, 4, 16), 60


def cell(images, layers):
    import torch
    from torch import nn

    import invkit
    from invkit.autoencoders import ConvAutoencoder

    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    blocks = [
        nn.Conv2d(3, 32, 4, 4),
        nn.ReLU(),
        *(layer for _ in range(15) for layer in (nn.Conv2d(32, 32, 1), nn.ReLU())),
    ]
    model = nn.Sequential(*blocks, nn.Flatten())
    data = invkit.ImageSet(torch.randint(256, (images, 3, 28, 28), dtype=torch.uint8))
    settings = invkit.Settings()
    settings = replace(settings, fit_t=replace(settings.fit_t, steps=STEPS))
    names = [str(2 * k + 1) for k in range(layers)]
    invkit.profile(model, names[:1], data.take(torch.arange(200)), autoencoder=ConvAutoencoder(28),
                   settings=replace(settings, fit_t=replace(settings.fit_t, steps=2)))  # fmt: skip  # warm-up
    with tempfile.TemporaryDirectory() as cache:
        begun = time.perf_counter()
        invkit.profile(
            model,
            names,
            data,
            autoencoder=ConvAutoencoder(28),
            cache=cache,
            settings=settings,
        )
        seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - data.pixels.nbytes / 2**20
    print(json.dumps([seconds, peak]))


def measured(images, layers):
    command = [sys.executable, __file__, "--cell", str(images), str(layers)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def main(most):
    print("images  layers   seconds  MiB beyond the images")
    for images, layers in [(n, 1) for n in IMAGES if n <= most] + [(10_000, n) for n in LAYERS[1:]]:
        seconds, peak = measured(images, layers)
        print(f"{images:6d}  {layers:6d}  {seconds:8.1f}  {peak:8.0f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--cell", type=int, nargs=2)
    parser.add_argument("--most", type=int, default=IMAGES[-1])
    options = parser.parse_args()
    if options.cell:
        cell(*options.cell)
    else:
        main(options.most)

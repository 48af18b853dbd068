"""The paper's autoencoder at 128 px: parameters, one step of it and of its discriminator, memory, and exact resumption.

python benchmarks/paper_step.py

Weights of VGG-16 and of the encoder are random, since what they are changes neither time nor memory. Images are noise.
"""

import os
import resource
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
import torchvision

from invkit import AutoencoderSettings, BigAutoencoder, ImageSet, PerceptualDistance, Preprocess
from invkit.autoencoders import AutoencoderTask, ImageMetric, PatchDiscriminator, build_autoencoder
from invkit.interpretees import ModuleInterpretee
from invkit.interpretees.perceptual import LPIPS_LAYERS
from invkit.training import fit
from invkit.training.checkpoint import checkpoint_of
from invkit.utils.random import seeded

PAPER = AutoencoderSettings.paper()


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def tell_parameters():
    """Encoder and decoder of table S7 at three sizes, and with the perceptron of the released weights."""
    for size in (64, 128, 256):
        for hidden in (256, 2000):
            with torch.device("meta"):
                model = BigAutoencoder(size, hidden=hidden)
            encoder = sum(p.numel() for p in model.trunk.parameters()) / 1e6
            decoder = sum(p.numel() for p in model.parameters()) / 1e6 - encoder
            print(f"{size} px, perceptron of {hidden}: encoder {encoder:.1f}, decoder {decoder:.1f} million parameters")


def task_of(settings, size, perceptual):
    autoencoder = build_autoencoder(settings, size)
    with seeded(0, "rest"):
        data, critic = ImageSet(torch.rand(32, 3, size, size)), PatchDiscriminator()
    return AutoencoderTask(autoencoder, data, data.take(torch.arange(4)), ImageMetric("l1", perceptual), critic=critic)


def main(batch):
    tell_parameters()
    with seeded(0, "vgg"):
        vgg = ModuleInterpretee(torchvision.models.vgg16(weights=None), Preprocess())
    perceptual = PerceptualDistance(vgg, LPIPS_LAYERS)
    print(f"before: {peak():.1f} GiB")
    task = task_of(PAPER, 128, perceptual)
    begun = time.perf_counter()
    one = replace(PAPER.fit, steps=1, batch_size=batch, evaluate_every=1)
    result = fit(task, one)
    print(
        f"one step of {batch} images, and two evaluations: {time.perf_counter() - begun:.0f} s, peak {peak():.1f} GiB"
    )
    print({name: round(value, 4) for name, value in result.terms[0].items()})

    few = replace(PAPER.fit, steps=10, batch_size=2, evaluate_every=5)
    del task
    whole = task_of(PAPER, 128, perceptual)
    begun = time.perf_counter()
    fit(whole, few)
    print(f"ten steps of 2 images: {time.perf_counter() - begun:.0f} s", flush=True)
    expected = {name: value.clone() for name, value in whole.module.state_dict().items()}
    del whole
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "autoencoder.safetensors")

        def stop(step, _module):
            if step == 5:
                os.kill(os.getpid(), signal.SIGINT)

        cut = fit(task_of(PAPER, 128, perceptual), few, path=file, on_evaluate=stop)
        print(f"stopped at step {cut.steps}; the checkpoint has {checkpoint_of(file).stat().st_size / 2**30:.2f} GiB")
        again = task_of(PAPER, 128, perceptual)
        result = fit(again, few, path=file)
    state = again.module.state_dict()
    same = all(torch.equal(value, state[name]) for name, value in expected.items())
    print(f"resumed, {result.steps} steps: weights {'equal' if same else 'DIFFER from'} those of an uninterrupted run")
    print(f"peak {peak():.1f} GiB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else PAPER.fit.batch_size)

"""Pixels that share a layer's representation: invkit's samples against metamers made by gradient descent.

make demo && python benchmarks/metamers.py [demo-output/cache] [--images 4] [--png FILE]

64 of each for each image, of the demo's trained SqueezeNet at the demo's layer. Metamers are noise whose pixels Adam
moves until their mean error is that of invkit's samples, and on to the end of its budget. Metrics are means over the
images; an error is mean ‖Φ(x̄) − z‖ over mean ‖Φ(x′) − z‖, x′ being all other held-out images. Variances are those of
a pixel over the 64, and of the mean over 7×7 pixels, which noise drawn pixel by pixel hardly moves. t is trained here,
representing the training images included; the autoencoder, which all layers share, is from the cache and not counted.
--png draws, an image a row: x, samples, metamers of the samples' error, metamers of the whole budget.
"""

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from invkit.data import evenly_spaced
from invkit.explainer.invariance import train_t
from invkit.explanation import Explanation, HeldOut
from invkit.interpretees import ModuleInterpretee
from invkit.report import write_png
from invkit.studies.demo.network import LAYER, PREPROCESS
from invkit.studies.demo.run import prepared
from invkit.utils.random import generator_for

N, STEPS, RATE = 64, 150, 0.03  # of 0.003, 0.01, 0.03 and 0.1 the rate that reaches the samples' error in fewest steps
SHOWN = 8
INVKIT, EQUAL, WHOLE = "invkit, t trained before", "Adam, to invkit's error", "Adam, whole budget"


def trained_explanation(cache):
    models, explainer = prepared(cache, seed=0)
    explainer.cache = None  # t is trained here
    interpretee = ModuleInterpretee(models[max(models)], PREPROCESS)
    begun = time.perf_counter()
    z = explainer.representations(interpretee, [LAYER])[LAYER]
    t, _ = train_t(explainer, z, "", "t")
    seconds = time.perf_counter() - begun
    held_out = HeldOut(explainer.held_out, z[1])
    return Explanation(LAYER, explainer.autoencoder, t, None, held_out, interpretee=interpretee), seconds


def distances(z, own):
    return (z - own).flatten(1).norm(dim=1).mean()


def metamers(interpretee, own, size, goal):
    """Return (seconds, steps, images) when the mean distance is at most `goal`, if ever, and after the whole budget."""
    pixels = torch.rand(N, 3, size, size, generator=generator_for(0, "metamers")).requires_grad_()
    optimizer = torch.optim.Adam([pixels], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    reached, begun = None, time.perf_counter()
    for step in range(STEPS):
        z = interpretee.features(pixels, [LAYER])[LAYER]
        if reached is None and distances(z.detach(), own) <= goal:
            reached = time.perf_counter() - begun, step, pixels.detach().clone()
        optimizer.zero_grad()
        (z - own).square().sum().backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            pixels.clamp_(0, 1)
    return reached, (time.perf_counter() - begun, STEPS, pixels.detach())


def measured(explanation, row):
    """Return x, and by name (seconds, steps, images) and (error, variance, variance of means over 7×7)."""
    interpretee, held_out = explanation.interpretee, explanation.held_out
    x = held_out.data.images(slice(row, row + 1))
    own, others = held_out.z[row : row + 1], torch.arange(len(held_out.z)) != row
    begun = time.perf_counter()
    samples = explanation.sample(x, N)[0]
    made = {INVKIT: (time.perf_counter() - begun, 0, samples)}

    def distance(images):
        return distances(interpretee.represent(images, [LAYER])[LAYER], own)

    made[EQUAL], made[WHOLE] = metamers(interpretee, own, x.shape[-1], distance(samples))
    scale, metrics = distances(held_out.z[others], own), {}
    for name, (_, _, images) in ((name, way) for name, way in made.items() if way):
        metrics[name] = distance(images) / scale, images.var(0).mean(), F.avg_pool2d(images, 7).var(0).mean()
    return x, made, metrics


def main(cache, count, png):
    explanation, training = trained_explanation(cache)
    rows = evenly_spaced(len(explanation.held_out.data), count)
    explanation.sample(explanation.held_out.data.images(rows[:1]), N)  # to warm up
    found, sheets = {INVKIT: [], EQUAL: [], WHOLE: []}, [[], [], [], []]
    for row in rows.tolist():
        x, made, metrics = measured(explanation, row)
        for name, values in metrics.items():
            found[name].append((*made[name][:2], *values))
        for sheet, images in zip(sheets, (x, *(way and way[2] for way in made.values())), strict=True):
            sheet.append(torch.ones(SHOWN, *x.shape[1:]) if images is None else images[:SHOWN])
    print(f"seconds  steps  error  variance  of means over 7×7   for {N} of an image, mean of {count} images")
    means = {name: torch.tensor(values).mean(0).tolist() for name, values in found.items() if values}
    for name, (took, steps, error, *variances) in means.items():
        print(f"{took:7.2f}  {steps:5.1f}  {error:5.3f}  {variances[0]:8.4f}  {variances[1]:17.4f}   {name}")
    print(f"{training + means[INVKIT][0]:7.1f}  {'':44}invkit, t trained for this image alone")
    print(f"{len(found[EQUAL])} of {count} images were reached by Adam in {STEPS} steps")
    if EQUAL in means and means[EQUAL][0] > means[INVKIT][0]:
        ahead = training / (means[EQUAL][0] - means[INVKIT][0])
        print(f"training t pays from {ahead:.0f} images on, at the same error")
    if png:
        write_png(png, [torch.stack(sheet) for sheet in sheets])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("cache", nargs="?", type=Path, default=Path("demo-output/cache"))
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--png", type=Path)
    options = parser.parse_args()
    main(options.cache, options.images, options.png)

"""One flow for many layers against one for each: held-out NLL of each layer, and seconds of training.

make demo && python benchmarks/many_layers.py [demo-output/cache]

The demo's trained SqueezeNet on ColorDigits. The amortised flow shares all blocks among the layers, each of which keeps
its own H; each batch is divided among the layers.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from invkit.data import represent_all
from invkit.explainer.invariance import build_t
from invkit.interpretees import ModuleInterpretee
from invkit.studies.demo.network import PREPROCESS
from invkit.studies.demo.run import prepared
from invkit.training import AmortisedTask, InvarianceTask, fit, held_out_nll
from invkit.utils.random import generator_for

LAYERS = ("features.4", "features.7", "features.10", "features.12")
STEPS = (1, 2)  # of all, in units of the default's


def main(cache):
    models, explainer = prepared(cache, seed=0)
    interpretee, settings = ModuleInterpretee(models[max(models)], PREPROCESS), explainer.settings
    parts = [represent_all(interpretee, LAYERS, part) for part in (explainer.train_copies, explainer.held_out)]
    rows = torch.randperm(len(explainer.train_copies), generator=generator_for(0, "initialise"))[:4096]
    latents = explainer.codes[rows].sample(generator_for(0, "t"))
    codes, held_out_codes = explainer.codes, explainer.held_out_codes

    def tasks():
        found = []
        for layer in LAYERS:
            t = build_t(settings, explainer.autoencoder.latent_shape, latents, parts[0][layer][rows])
            found.append(InvarianceTask(t, codes, parts[0][layer], (held_out_codes, parts[1][layer])))
        return found

    def report(title, seconds, done):
        found = zip(LAYERS, done, strict=True)
        nll = [float(held_out_nll(task.module, held_out_codes, parts[1][layer]).mean()) for layer, task in found]
        print(f"{title:<32}{seconds:7.0f} s  " + " ".join(f"{value:7.3f}" for value in nll), flush=True)

    print(f"{'held-out NLL at':<41}  " + " ".join(f"{layer.removeprefix('features.'):>7}" for layer in LAYERS))
    for share in STEPS:
        fit_t = replace(settings.fit_t, steps=share * settings.fit_t.steps)
        separate, begun = tasks(), time.perf_counter()
        for task in separate:
            fit(task, fit_t)
        report(f"one flow for each, steps × {share}", time.perf_counter() - begun, separate)
        amortised, begun = tasks(), time.perf_counter()
        fit(AmortisedTask(amortised), fit_t)
        report(f"one for all, steps × {share}", time.perf_counter() - begun, amortised)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output/cache"))

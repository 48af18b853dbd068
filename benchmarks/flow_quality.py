"""Held-out likelihood of t, and the seconds that it took, by architecture and training: how the default was chosen.

make demo && python benchmarks/flow_quality.py [demo-output/cache] [CASE ...]

t of the demo's trained network, on its cached codes. Seconds vary by a third between runs on a shared machine; each row
also gives them relative to the first's in the same run. CASE: some of the rows alone, by name.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

from invkit.core import Estimate
from invkit.explainer.invariance import train_t
from invkit.explanation import Explanation, HeldOut
from invkit.interpretees import ModuleInterpretee
from invkit.settings import Settings
from invkit.studies.demo.judged import agreement
from invkit.studies.demo.network import LAYER, PREPROCESS
from invkit.studies.demo.run import prepared
from invkit.studies.judging import trained_judge
from invkit.training import held_out_nll

DEFAULT = Settings()
LEAN, FIT = DEFAULT.t, DEFAULT.fit_t
CASES = {
    "default": (LEAN, FIT),
    "narrower, 256": (replace(LEAN, width=256), FIT),
    "4 blocks": (replace(LEAN, n_flow=4), FIT),
    "12 blocks, depth 0": (replace(LEAN, n_flow=12, depth=0), FIT),
    "width 768, depth 0": (replace(LEAN, width=768, depth=0), FIT),
    "LU mixing": (replace(LEAN, mixing="linear"), FIT),
    "LU mixing, width 256": (replace(LEAN, mixing="linear", width=256), FIT),
    "spline coupling, width 128": (replace(LEAN, coupling="spline", width=128), FIT),
    "separate s and t, as the paper": (replace(LEAN, coupling="paper"), FIT),
    "batch 256, as many steps": (LEAN, replace(FIT, batch_size=256)),
    "batch 1024, half the steps": (LEAN, replace(FIT, batch_size=1024, steps=FIT.steps // 2)),
    "learning rate 1e-3": (LEAN, replace(FIT, learning_rate=1e-3)),
    "learning rate 6e-3": (LEAN, replace(FIT, learning_rate=6e-3)),
    "weight decay 0.1": (LEAN, replace(FIT, weight_decay=0.1)),
    "float32": (LEAN, replace(FIT, precision="float32")),
}


def main(cache, *wanted):
    models, explainer = prepared(cache, seed=0)
    judge = trained_judge(explainer)
    explainer.cache = None  # each t is trained here
    interpretee = ModuleInterpretee(models[max(models)], PREPROCESS)
    z = explainer.representations(interpretee, [LAYER])[LAYER]
    base = None
    print("seconds  of default  NLL(z̄ | z)  samples read as the same digit")
    for name, (flow, fit) in CASES.items():
        if wanted and name not in wanted:
            continue
        explainer.settings = replace(DEFAULT, t=flow, fit_t=fit)
        begun = time.perf_counter()
        t, _ = train_t(explainer, z, "", name)
        seconds = time.perf_counter() - begun
        base = base or seconds
        nll = float(held_out_nll(t, explainer.held_out_codes, z[1]).mean())
        explanation = Explanation(LAYER, explainer.autoencoder, t, None, HeldOut(explainer.held_out, z[1]))
        same: Estimate = agreement(explanation, judge, n=1000)
        print(f"{seconds:7.1f}  {seconds / base:10.2f}  {nll:11.4f}  {same}   {name}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output/cache"), *sys.argv[2:])

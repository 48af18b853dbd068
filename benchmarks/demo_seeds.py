"""Run the demo for several seeds, and compare its metrics with what they must reach.

python benchmarks/demo_seeds.py [folder] [seeds, 0,1,2,3,4]

Parts that the folder already holds are not trained again.
"""

import sys
import time
from pathlib import Path

from invkit.core import Estimate
from invkit.studies.demo import run_demo


def marks(metrics):
    """Yield (name, metric, whether it passes) of each mark for one seed."""
    first, *_, last = metrics["checkpoints"].values()

    def share(checkpoint, name):
        return Estimate(**checkpoint["concepts"][name])

    def probe(checkpoint, name):
        return Estimate(**checkpoint["probe"][name])

    rise = Estimate(**last["invariance"]) - Estimate(**first["invariance"])
    lead_before, lead_after = (share(c, "digit") - share(c, "background") for c in (first, last))
    left = share(last, "background").value / share(first, "background").value
    probed = [probe(last, name) - probe(first, name) for name in ("digit", "background")]
    lead = lead_after - lead_before
    same = Estimate(**last["agreement"])
    yield "held-out accuracy at least 0.95", f"{last['accuracy']:.3f}", last["accuracy"] >= 0.95
    yield "invariance rises by at least 0.2", rise, rise.value - 3 * rise.standard_error >= 0.2
    yield "background falls to less than half", f"{left:.2f} of it", left < 0.5
    yield "digit − background rises by at least 0.3", lead, lead.value - 3 * lead.standard_error >= 0.3
    yield "… and ends positive", lead_after, lead_after.value > 3 * lead_after.standard_error
    yield "probe: digit rises", probed[0], probed[0].value > 3 * probed[0].standard_error
    yield "probe: background falls", probed[1], probed[1].value < -3 * probed[1].standard_error
    yield "samples keep the digit, at least 0.80", same, same.value >= 0.8
    yield "reconstructions at least 24 dB", f"{last['psnr']:.1f}", last["psnr"] >= 24
    for swapped, judged in metrics["edits"].items():
        others = max(rate for name, rate in judged.items() if name != swapped)
        good = judged[swapped] >= 0.8 and others <= 0.2
        yield f"{swapped} swapped: at least 0.80, others at most 0.20", f"{judged[swapped]:.2f}, {others:.2f}", good
    for name, checkpoint in (("untrained", first), ("trained", last)):
        yield f"NLL(z̄) − NLL(z̄ | z), {name}", f"{checkpoint['nll_prior'] - checkpoint['nll']:.3f} nats/dim", True


def main(folder, seeds):
    missed = 0
    for seed in seeds:
        begun = time.perf_counter()
        metrics = run_demo(folder / str(seed), seed=seed)
        print(f"seed {seed}, {time.perf_counter() - begun:.0f} s")
        for name, metric, good in marks(metrics):
            print(f"  {'ok  ' if good else 'MISS'} {name}: {metric}", flush=True)
            missed += not good
    print(f"{missed} marks missed")


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else "demo-seeds"
    seeds = sys.argv[2] if len(sys.argv) > 2 else "0,1,2,3,4"
    main(Path(folder), [int(seed) for seed in seeds.split(",")])

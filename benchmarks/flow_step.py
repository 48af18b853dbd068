"""Time one training step of t for each preset, as ratios to the lean default within one run.

python benchmarks/flow_step.py
"""

import time

import torch

from invkit.flows import FlowSettings, InvarianceFlow

N, BATCH, ROUNDS = 64, 256, 7
CASES = {
    "lean (default)": FlowSettings(),
    "lean, LU mixing": FlowSettings(mixing="linear"),
    "lean, separate s and t": FlowSettings(coupling="paper"),
    "lean, spline": FlowSettings(coupling="spline"),
    "paper, 20 blocks of width 1024": FlowSettings.paper(),
}


def step_of(settings):
    embedder = settings.build_embedder((512,), N)
    t = InvarianceFlow(settings.blocks(N, embedder.condition_dim), embedder)
    optimizer = torch.optim.AdamW(t.parameters(), lr=1e-4, fused=True)
    latents, z = torch.randn(BATCH, N), torch.randn(BATCH, 512)
    t.initialize(latents, z)

    def step():
        optimizer.zero_grad()
        t.nll(latents, z).mean().backward()
        optimizer.step()

    return step


def main():
    torch.manual_seed(0)
    steps = {name: step_of(settings) for name, settings in CASES.items()}
    times = {name: [] for name in steps}
    for _ in range(ROUNDS):  # in turn, so that other work on the machine meets all alike
        for name, step in steps.items():
            begun = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - begun)
    base = torch.tensor(times["lean (default)"]).median()
    for name, values in times.items():
        middle = torch.tensor(values).median()
        print(f"{name:<32} {1000 * middle:8.1f} ms  {middle / base:6.2f} of the default")


if __name__ == "__main__":
    main()

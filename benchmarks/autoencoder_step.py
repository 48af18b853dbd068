"""One training step of each autoencoder by number format and memory format, as ratios to what invkit does.

python benchmarks/autoencoder_step.py
"""

import time
from dataclasses import replace

import torch

from invkit import AutoencoderSettings, ImageSet
from invkit.autoencoders import AutoencoderTask, build_autoencoder

ROUNDS, BATCH = 5, 32
AUTOENCODERS = {
    "table S1 at 28 px": (AutoencoderSettings(), 28),
    "table S1 at 64 px": (AutoencoderSettings.tiny(), 64),
    "table S7 at 64 px, ResNet-18, width 16": (
        AutoencoderSettings(architecture="big", latent_dim=128, width=16, encoder="resnet18"),
        64,
    ),
}
FORMATS = {
    "bf16, channels last": (True, torch.channels_last),
    "bf16": (True, torch.contiguous_format),
    "float32, channels last": (False, torch.channels_last),
    "float32": (False, torch.contiguous_format),
}


def step_of(settings, size, bf16, memory_format):
    autoencoder = build_autoencoder(replace(settings), size).to(memory_format=memory_format)
    data = ImageSet(torch.rand(BATCH, 3, size, size))
    task = AutoencoderTask(autoencoder, data, data)
    optimizer = torch.optim.AdamW(autoencoder.parameters(), lr=1e-4, fused=True)

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = task.loss(autoencoder, torch.arange(BATCH), torch.Generator().manual_seed(0))
        loss.backward()
        optimizer.step()

    return step


def main():
    for name, (settings, size) in AUTOENCODERS.items():
        steps = {kind: step_of(settings, size, *how) for kind, how in FORMATS.items()}
        times = {kind: [] for kind in steps}
        for _ in range(ROUNDS):  # in turn, so that other work on the machine meets all alike
            for kind, step in steps.items():
                begun = time.perf_counter()
                step()
                times[kind].append(time.perf_counter() - begun)
        base = torch.tensor(times["bf16, channels last"]).median()
        print(name)
        for kind, values in times.items():
            middle = torch.tensor(values).median()
            print(f"  {kind:<24} {1000 * middle:8.1f} ms  {middle / base:6.2f}")


if __name__ == "__main__":
    main()

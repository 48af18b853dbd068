"""A training step in each number format and memory format, as a ratio to float32 and contiguous, and what is chosen.

    python benchmarks/precision.py

Two minutes on two cores.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import invkit
from invkit.autoencoders import AutoencoderSettings, AutoencoderTask, build_autoencoder
from invkit.data import Codes, ImageSet
from invkit.explainer.invariance import build_t
from invkit.settings import Settings
from invkit.training import Format, InvarianceTask, Task, choose_format
from invkit.training.formats import time_formats

FORMATS = [Format(p, m) for p in ("float32", "bfloat16") for m in ("contiguous", "channels_last")]  # type: ignore[arg-type]
LONG = 10**6  # steps: the time of a measurement is then limited by seconds alone


class Classify(Task):
    """Train SqueezeNet 1.1 on noise."""

    def __init__(self) -> None:
        self.title, self.rows = "SqueezeNet", 256
        self.module = torchvision.models.squeezenet1_1(num_classes=10)
        self._images, self._labels = torch.rand(256, 3, 64, 64), torch.arange(256) % 10

    def loss(self, module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return the cross-entropy of a batch."""
        return F.cross_entropy(module(self._images[rows]).float(), self._labels[rows])

    def validation_loss(self, module: nn.Module) -> float:
        """Return nothing of interest."""
        return 0.0


def tasks() -> dict[str, tuple[Task, invkit.FitSettings]]:
    """Build what is timed, with its settings."""
    drawn, settings = torch.randn(1024, 64), Settings()
    codes, z = Codes(drawn, torch.full_like(drawn, 0.1)), torch.randn(1024, 128)
    found: dict[str, tuple[Task, invkit.FitSettings]] = {
        "t of a layer of 128 values": (
            InvarianceTask(build_t(settings, (64,), drawn, z), codes, z, (codes, z)), settings.fit_t
        )
    }  # fmt: skip
    big = AutoencoderSettings(architecture="big", latent_dim=128, width=16, encoder="resnet18")
    for name, how, size in (
        ("autoencoder, table S1 at 28 px", AutoencoderSettings(), 28),
        ("autoencoder, table S1 at 64 px", AutoencoderSettings.tiny(), 64),
        ("autoencoder, table S7 at 64 px, width 16", big, 64),
    ):
        data = ImageSet(torch.rand(64, 3, size, size))
        found[name] = (AutoencoderTask(build_autoencoder(how, size), data, data), how.fit)
    found["SqueezeNet at 64 px"] = (Classify(), replace(settings.fit_t, batch_size=64))
    return found


def main() -> None:
    """Print milliseconds, ratios and the choice."""
    for name, (task, settings) in tasks().items():
        taken = time_formats(task, replace(settings, steps=LONG), FORMATS)
        print(name)
        for each, seconds in taken.items():
            print(f"  {' '.join(each):<24} {1000 * seconds:8.1f} ms {seconds / taken[FORMATS[0]]:6.2f}")
        print(f"  chosen: {' '.join(choose_format(task, settings))}", flush=True)


if __name__ == "__main__":
    main()

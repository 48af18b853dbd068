"""Forecast and truth: what `invkit bench` says beforehand, and what the same work then takes.

    python benchmarks/forecast.py [--fashion ROOT] [--photographs FOLDER] [--share 0.25]

Coloured digits through one layer and through four, and, where they are given, clothes (torchvision's folder, with
FashionMNIST/raw in it) and photographs (a sub-folder for each class) at 64 px. Every training has `--share` of its
default steps. Three minutes a case with the default share; nothing else should run beside it.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

import invkit
from invkit.data import ImageSet, as_image_set, color_digits, evenly
from invkit.demo.network import PREPROCESS, squeezenet
from invkit.forecast import forecast
from invkit.interpretees import ModuleInterpretee
from invkit.settings import AutoencoderSettings, Settings
from invkit.training import FitSettings

CLOTHES, PX = 10_000, 64  # images, side of photographs


def shortened(images: ImageSet, share: float) -> Settings:
    """Give the settings that suit the images, with a share of their steps."""
    chosen = Settings.for_images(images)
    autoencoder = chosen.autoencoder or AutoencoderSettings.for_images(images.size)

    def less(fit: FitSettings) -> FitSettings:
        return replace(fit, steps=max(1, round(share * fit.steps)))

    return replace(
        chosen,
        autoencoder=replace(autoencoder, fit=less(autoencoder.fit)),
        fit_t=less(chosen.fit_t),
        fit_anchors=less(chosen.fit_anchors),
        fit_e=less(chosen.fit_e),
    )


def cases(
    fashion: Path | None, photographs: Path | None
) -> Iterator[tuple[str, ImageSet, ModuleInterpretee, list[str]]]:
    """Give name, images, model and layers of each case; models are untrained, which costs the same."""
    digits = color_digits()
    network = ModuleInterpretee(squeezenet(0, digits.images(slice(64))), PREPROCESS)
    yield "coloured digits, a layer", digits, network, ["features.7"]
    yield "coloured digits, four layers", digits, network, ["features.3", "features.7", "features.11", "output"]
    if fashion is not None:
        clothes = as_image_set(f"fashion-mnist:{fashion}")
        yield "clothes, a layer", clothes.take(evenly(len(clothes), CLOTHES)), network, ["features.7"]
    if photographs is not None:
        resnet = invkit.load_model("torchvision:resnet18", weights="random")
        yield "photographs through ResNet-18", as_image_set(photographs, size=PX), resnet, ["layer3"]


def main() -> None:
    """Print seconds forecast and taken, and their ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fashion", type=Path, metavar="ROOT")
    parser.add_argument("--photographs", type=Path, metavar="FOLDER")
    parser.add_argument("--share", type=float, default=0.25)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    print("forecast s   taken s   ratio   what")
    for name, images, model, layers in cases(options.fashion, options.photographs):
        settings = shortened(images, options.share)
        told = forecast(images, [(model, layers)], settings=settings).seconds()
        begun = time.perf_counter()
        invkit.profile(model, layers, images, settings=settings, progress=False)
        taken = time.perf_counter() - begun
        print(f"{told:10.0f}{taken:10.0f}{told / taken:8.2f}   {name}", flush=True)


if __name__ == "__main__":
    main()

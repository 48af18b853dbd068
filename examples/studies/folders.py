"""Arguments and settings of examples that take images from folders."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from invkit.data import ImageSet
from invkit.settings import AutoencoderSettings, Settings


def arguments(about: str | None, **folders: str) -> argparse.Namespace:
    """Read `--out`, `--seeds`, `--quick` and a path for each of the folders.

    Args:
        about: what the example does.
        folders: what each holds, by the name of its option; None in the result where it is not given.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("study-output"), help="folder of the page and of its cache")
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0 to N − 1, each with a network of its own")
    parser.add_argument("--quick", action="store_true", help="a first look, with rough figures")
    for name, what in folders.items():
        parser.add_argument(f"--{name}", type=Path, metavar="FOLDER", help=what)
    return parser.parse_args()


def settings_for(images: ImageSet, quick: bool) -> Settings:
    """Give what suits images by their size and number, for a first look with few steps."""
    chosen = Settings.for_images(images)
    if not quick:
        return chosen
    autoencoder = chosen.autoencoder or AutoencoderSettings.for_images(images.size)
    few = 200
    return replace(
        chosen,
        autoencoder=replace(autoencoder, fit=replace(autoencoder.fit, steps=2 * few)),
        copies=min(2, chosen.copies),
        fit_t=replace(chosen.fit_t, steps=few),
        fit_anchors=replace(chosen.fit_anchors, steps=few),
        fit_e=replace(chosen.fit_e, steps=few // 4),
    )

"""Shared by the examples: ColorDigits, the demo's SqueezeNet that classifies them, options, and output."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from invkit.data import ImageSet, color_digits
from invkit.explainer import Explainer
from invkit.interpretees import ModuleInterpretee
from invkit.studies import Study, over_seeds
from invkit.studies.demo.network import CHECKPOINTS, NETWORK, PREPROCESS, train_checkpoints
from invkit.utils.io import write_json


def digits(seed: int) -> tuple[ImageSet, ImageSet]:
    """Return training and held-out images of coloured digits, as in the demo."""
    return color_digits("train", seed=seed), color_digits("test", copies=4, seed=seed)


def digits_checkpoints(cache: Path, seed: int) -> tuple[dict[int, ModuleInterpretee], ImageSet, ImageSet]:
    """Return the demo's network by training step, loaded from the cache if it is there, and its images."""
    train, test = digits(seed)
    models = train_checkpoints(train, test, NETWORK, CHECKPOINTS, seed=seed, cache=cache)
    return {step: ModuleInterpretee(model, PREPROCESS) for step, model in models.items()}, train, test


def digits_network(cache: Path, seed: int) -> tuple[ModuleInterpretee, ImageSet, ImageSet]:
    """Return the trained network and its images."""
    networks, train, test = digits_checkpoints(cache, seed)
    return networks[CHECKPOINTS[-1]], train, test


def explainer(images: ImageSet, options: argparse.Namespace, seed: int, held_out: ImageSet | None = None) -> Explainer:
    """Return an Explainer of images, with the settings and the cache of the options."""
    return Explainer(images, held_out=held_out, settings=options.settings, seed=seed, cache=options.out / "cache")


def arguments(about: str | None, words: Mapping[str, str] = {}, **folders: str) -> argparse.Namespace:
    """Parse `--out`, `--seeds`, `--quick`, a path for each of `folders` and a text for each of `words`.

    Args:
        about: description of the example.
        words: help of each text option, by name; absent options are None.
        folders: help of each path option, by name; absent options are None.

    Returns:
        the options, and `settings` of the Explainer.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("study-output"), help="folder of the page and of its cache; study-output/"
    )
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0 to N − 1, each with a network of its own")
    parser.add_argument("--quick", action="store_true", help="a first look, with rough metrics")
    for name, what in words.items():
        parser.add_argument(f"--{name}", help=what)
    for name, what in folders.items():
        parser.add_argument(f"--{name}", type=Path, metavar="FOLDER", help=what)
    options = parser.parse_args()
    options.settings = "quick" if options.quick else None
    return options


def run_study(run: Callable[[int], Study], options: argparse.Namespace) -> None:
    """Run a study on all seeds, print it, and write its page and its metrics."""
    study = run(0) if options.seeds == 1 else over_seeds(run, range(options.seeds))
    print(study)
    write_json(options.out / f"{study.name}.json", study.to_dict())
    print(study.to_html(options.out / f"{study.name}.html"))

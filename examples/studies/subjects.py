"""What the examples study: ColorDigits, and the demo's SqueezeNet that names the digits."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from invkit.data import ImageSet, color_digits
from invkit.interpretees import ModuleInterpretee
from invkit.studies import Study, over_seeds
from invkit.studies.demo.network import PREPROCESS, train_checkpoints
from invkit.studies.demo.run import CHECKPOINTS, NETWORK
from invkit.utils.io import write_json


def digits(seed: int) -> tuple[ImageSet, ImageSet]:
    """Return coloured digits to train on and held-out ones, as in the demo."""
    return color_digits("train", seed=seed), color_digits("test", copies=4, seed=seed)


def digits_checkpoints(cache: Path, seed: int) -> tuple[dict[int, ModuleInterpretee], ImageSet, ImageSet]:
    """Return the demo's network by training step, found in the demo's cache where there is one, and its images."""
    train, test = digits(seed)
    models = train_checkpoints(train, test, NETWORK, CHECKPOINTS, seed=seed, cache=cache)
    return {step: ModuleInterpretee(model, PREPROCESS) for step, model in models.items()}, train, test


def digits_network(cache: Path, seed: int) -> tuple[ModuleInterpretee, ImageSet, ImageSet]:
    """Return the last of them."""
    networks, train, test = digits_checkpoints(cache, seed)
    return networks[CHECKPOINTS[-1]], train, test


def arguments(about: str | None, words: Mapping[str, str] = {}, **folders: str) -> argparse.Namespace:
    """Read `--out`, `--seeds`, `--quick`, a path for each of the folders and a text for each of the words.

    Args:
        about: what the example does.
        words: what each says, by the name of its option; None in the result where it is not given.
        folders: what each holds, by the name of its option; None in the result where it is not given.

    Returns:
        them, and `settings` of a study.
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


def told(run: Callable[[int], Study], options: argparse.Namespace) -> None:
    """Run a study on the seeds, print it, and write its page and its metrics."""
    study = run(0) if options.seeds == 1 else over_seeds(run, range(options.seeds))
    print(study)
    write_json(options.out / f"{study.name}.json", study.to_dict())
    print(study.to_html(options.out / f"{study.name}.html"))

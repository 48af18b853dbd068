"""`invkit demo`, `invkit explain`, `invkit profile`, `invkit bench`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from invkit.cli.common import (
    DATA_HELP,
    INPUTS,
    MODEL_HELP,
    OUTPUTS,
    PRESET,
    model_options,
    open_model,
    reported,
    with_held_out,
    with_options,
)

if TYPE_CHECKING:
    from invkit.core import Autoencoder, Interpretee
    from invkit.forecast import Forecast

__all__ = ["bench", "demo", "explain", "profile"]

_MADE_UP = 2048  # images of a forecast


def _model_and_keywords(
    model: str, out: Path, preset: str | None, quiet: bool, options: dict[str, Any]
) -> tuple[Interpretee, dict[str, Any]]:
    """Turn options of the command line into the model and the keywords of `invkit.explain`."""
    names = ("data", "concepts", "held_out", "held_out_concepts", "size", "autoencoder", "seed")
    keywords = {name: options.pop(name) for name in names}
    keywords |= {"settings": preset, "cache": out / "cache", "progress": not quiet}
    return open_model(model, **options), with_held_out(keywords)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo-output"), show_default=True)
@with_options(*OUTPUTS)
@reported
def demo(out: Path, seed: int, as_json: bool, quiet: bool) -> None:
    """Explain SqueezeNet while it learns handwritten digits in random colours."""
    from invkit.demo import run_demo

    result = run_demo(out, seed=seed, progress=not quiet)
    click.echo(json.dumps(result, indent=2) if as_json else f"Report: {out / 'report.html'}")


@click.command(help=f"Explain LAYER of MODEL on images DATA.\n\n{MODEL_HELP}\n\n{DATA_HELP}")
@click.argument("model")
@click.argument("layer")
@with_options(*INPUTS, model_options, *OUTPUTS)
@reported
def explain(model: str, layer: str, out: Path, preset: str | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Explain one layer."""
    from invkit import processes
    from invkit.recipe import explain as run
    from invkit.serialize import nulls_for_unknown

    interpretee, keywords = _model_and_keywords(model, out, preset, quiet, options)
    explanation = run(interpretee, layer, **keywords)
    if not processes.is_main():
        return
    explanation.save(out / "explanation")
    page = explanation.to_html(out / "report.html")
    figures = nulls_for_unknown(explanation.figures)
    click.echo(json.dumps(figures, indent=2) if as_json else f"{explanation!r}\nReport: {page}")


@click.command(
    help=f"Explain LAYERS (comma-separated addresses or globs) of MODEL on images DATA.\n\n{MODEL_HELP}\n\n{DATA_HELP}"
)
@click.argument("model")
@click.argument("layers")
@with_options(*INPUTS, model_options, *OUTPUTS)
@reported
def profile(model: str, layers: str, out: Path, preset: str | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Explain several layers."""
    from invkit import processes
    from invkit.recipe import profile as run

    interpretee, keywords = _model_and_keywords(model, out, preset, quiet, options)
    result = run(interpretee, layers.split(","), **keywords)
    if not processes.is_main():
        return
    page = result.to_html(out / "report.html")
    click.echo(json.dumps(result.to_dict(), indent=2) if as_json else f"Report: {page}")


@click.command(
    help=f"Tell what explaining LAYERS of MODEL takes on this machine, for ever more images.\n\n{MODEL_HELP}"
)
@click.argument("model")
@click.argument("layers")
@click.option("--size", type=int, default=64, show_default=True, help="Side of the images in px.")
@click.option("--images", type=int, default=0, help="A number of images to tell of beside 1,000, 10,000 and 100,000.")
@click.option("--classes", type=int, default=10, show_default=True, help="Of the images; 0 for no labels.")
@PRESET
@click.option("--autoencoder", help="As of `invkit explain`: none is to be trained.")
@with_options(model_options)
@click.option("--json", "as_json", is_flag=True)
@reported
def bench(
    model: str, layers: str, size: int, images: int, classes: int, preset: str | None, autoencoder: str | None,
    as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Tell what an explanation takes."""
    import torch

    from invkit.autoencoding import as_autoencoder
    from invkit.preparation import addresses_in
    from invkit.progress import spelt_bytes, spelt_time

    interpretee = open_model(model, **options)
    wanted = addresses_in(interpretee, layers.split(","))
    known = as_autoencoder(autoencoder)
    side = size if known is None else known.image_size
    counts = sorted({1000, 10_000, 100_000, *([images] if images else [])})
    found = _foretold(interpretee, wanted, counts, side, classes, known, preset)
    costs = found[counts[-1]].costs
    if as_json:
        parts = {name: {**vars(cost), "pace": cost.pace} for name, cost in costs.items()}
        told = {
            "parts": parts,
            "seconds": {str(n): each.seconds() for n, each in found.items()},
            "images with copies": {str(n): each.images for n, each in found.items()},
            "bytes per image": found[counts[-1]].bytes_per_image,
        }
        click.echo(json.dumps(told, indent=2))
        return
    rows = [("", "", *(f"{n:,} images" for n in counts))]
    for name, cost in costs.items():
        rows.append((name, cost.pace, *(spelt_time(each.costs[name].seconds(each.images)) for each in found.values())))
    rows.append(("all", "", *(spelt_time(each.seconds()) for each in found.values())))
    rows.append(("latents", "", *(spelt_bytes(each.images * each.bytes_per_image) for each in found.values())))
    for first, pace, *rest in rows:
        click.echo(f"{first:<16}{pace:>16}" + "".join(f"{text:>16}" for text in rest))
    click.echo(f"{len(wanted)} layers of {interpretee!r} at {side} px, with {torch.get_num_threads()} threads.")


def _foretold(
    interpretee: Interpretee,
    layers: Sequence[str],
    counts: Sequence[int],
    size: int,
    classes: int,
    autoencoder: Autoencoder | None,
    preset: str | None,
) -> dict[int, Forecast]:
    """Give what explaining so many images takes, each with the settings that `explain` would choose for them."""
    import torch

    from invkit.data import ImageSet, as_concept
    from invkit.forecast import forecast, parts_of
    from invkit.settings import Settings

    labels = {"class": as_concept("class", torch.arange(_MADE_UP) % classes)} if classes else {}
    pixels = torch.randint(256, (_MADE_UP, 3, size, size), dtype=torch.uint8)
    made_up = ImageSet(pixels, labels)
    known: dict[Settings, Forecast] = {}
    found: dict[int, Forecast] = {}
    for n in counts:
        images = ImageSet(pixels[:1].expand(n, -1, -1, -1))
        settings = Settings.of(preset, images)
        alike = replace(settings, copies=1)  # copies decide how many images there are, and no more
        if alike not in known:
            known[alike] = forecast(made_up, [(interpretee, layers)], autoencoder=autoencoder, settings=settings)
        train, test = parts_of(images, None, settings)
        found[n] = replace(known[alike], images=train * settings.copies + test)
    return found

"""`invkit demo`, `invkit explain`, `invkit profile`, `invkit bench`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from invkit.cli.common import DATA_HELP, INPUTS, MODEL_HELP, OUTPUTS, model_options, open_model, reported, with_options

if TYPE_CHECKING:
    from invkit.core import Interpretee

__all__ = ["bench", "demo", "explain", "profile"]


def _model_and_keywords(
    model: str, out: Path, preset: str | None, quiet: bool, options: dict[str, Any]
) -> tuple[Interpretee, dict[str, Any]]:
    """Turn options of the command line into the model and the keywords of `invkit.explain`."""
    from invkit.settings import Settings

    settings = getattr(Settings, preset)() if preset else None
    keywords = {name: options.pop(name) for name in ("data", "concepts", "size", "autoencoder", "seed")}
    keywords |= {"settings": settings, "cache": out / "cache", "progress": not quiet}
    return open_model(model, **options), keywords


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

    interpretee, keywords = _model_and_keywords(model, out, preset, quiet, options)
    explanation = run(interpretee, layer, **keywords)
    if not processes.is_main():
        return
    explanation.save(out / "explanation")
    page = explanation.to_html(out / "report.html")
    click.echo(json.dumps(explanation.figures, indent=2) if as_json else f"{explanation!r}\nReport: {page}")


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
@click.option("--preset", type=click.Choice(["few", "quick", "paper"]), help="As of `invkit explain`.")
@click.option("--autoencoder", help="As of `invkit explain`: none is to be trained.")
@with_options(model_options)
@click.option("--json", "as_json", is_flag=True)
@reported
def bench(
    model: str, layers: str, size: int, images: int, preset: str | None, autoencoder: str | None, as_json: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Tell what an explanation takes."""
    import torch

    from invkit.autoencoding import as_autoencoder
    from invkit.data import ImageSet
    from invkit.forecast import forecast
    from invkit.preparation import addresses_in
    from invkit.progress import spelt_bytes, spelt_time
    from invkit.settings import Settings

    interpretee = open_model(model, **options)
    wanted = addresses_in(interpretee, layers.split(","))
    known = as_autoencoder(autoencoder)
    side = size if known is None else known.image_size
    made_up = ImageSet(torch.randint(256, (2048, 3, side, side), dtype=torch.uint8))
    settings = getattr(Settings, preset)() if preset else Settings()
    found = forecast(made_up, [(interpretee, wanted)], autoencoder=known, settings=settings)
    counts = sorted({1000, 10_000, 100_000, *([images] if images else [])})
    if as_json:
        parts = {name: {**vars(cost), "pace": cost.pace} for name, cost in found.costs.items()}
        totals = {str(n): found.seconds(n) for n in counts}
        told = {"parts": parts, "seconds": totals, "bytes per image": found.bytes_per_image}
        click.echo(json.dumps(told, indent=2))
        return
    rows = [("", "", *(f"{n:,} images" for n in counts))]
    for name, cost in found.costs.items():
        rows.append((name, cost.pace, *(spelt_time(cost.seconds(n)) for n in counts)))
    rows.append(("all", "", *(spelt_time(found.seconds(n)) for n in counts)))
    rows.append(("latents", "", *(spelt_bytes(n * found.bytes_per_image) for n in counts)))
    for first, pace, *rest in rows:
        click.echo(f"{first:<16}{pace:>16}" + "".join(f"{text:>16}" for text in rest))
    click.echo(f"{len(wanted)} layers of {interpretee!r} at {side} px, with {torch.get_num_threads()} threads.")

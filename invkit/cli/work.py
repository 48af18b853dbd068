"""`invkit demo`, `invkit explain`, `invkit profile`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from invkit.cli.common import DATA_HELP, MODEL_HELP, OUTPUTS, SIZE, model_options, open_model, reported, with_options

if TYPE_CHECKING:
    from invkit.core import Interpretee

__all__ = ["demo", "explain", "profile"]

_INPUTS = (
    click.argument("data"),
    click.option(
        "--concepts",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="CSV file: the image's file, then a column for each concept.",
    ),
    click.option(
        "--out", type=click.Path(path_type=Path), default=Path("explanation"), help="Output folder.", show_default=True
    ),
    click.option(
        "--preset",
        type=click.Choice(["few", "quick", "paper"]),
        help="Few photographs; a first look; the paper's flows. The default goes by the images' size and number.",
    ),
    SIZE,
    click.option("--autoencoder", help="A folder of `invkit train-autoencoder`, or a plugin's name for a trained one."),
)


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
@with_options(*_INPUTS, model_options, *OUTPUTS)
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
@with_options(*_INPUTS, model_options, *OUTPUTS)
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

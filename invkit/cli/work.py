"""`invkit demo`, `invkit explain`, `invkit profile`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from invkit.cli.opening import open_model
from invkit.cli.options import (
    DATA_HELP,
    INPUTS,
    MODEL_HELP,
    OUTPUTS,
    ModelCommand,
    explainer_arguments,
    model_options,
    with_options,
)
from invkit.cli.reported import reported
from invkit.errors import SettingsError

if TYPE_CHECKING:
    from invkit.core import Interpretee

__all__ = ["demo", "explain", "profile"]


def _model_and_arguments(
    model: str, data: str | None, out: Path, seed: int, options: dict[str, Any]
) -> tuple[Interpretee, dict[str, Any]]:
    """Return the model, and the arguments of `invkit.explain`, from the options of the command line."""
    from invkit.explainer import Explainer

    arguments = explainer_arguments(options, data)
    if data is not None and Explainer.is_saved_in(data):
        given = [f"--{name.replace('_', '-')}" for name, value in arguments.items() if value and name != "data"]
        if given or seed:
            raise SettingsError(
                "DATA is a saved Explainer, whose settings are decided",
                expected="no other options of images and settings",
                got=", ".join(given) or f"--seed {seed}",
            )
        arguments = {"data": Explainer.load(data, cache=out / "cache")}
    else:
        arguments |= {"seed": seed, "cache": out / "cache"}
    return open_model(model, **options), arguments


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo-output"), show_default=True)
@with_options(*OUTPUTS)
@reported
def demo(out: Path, seed: int, as_json: bool) -> None:
    """Explain SqueezeNet while it learns handwritten digits in random colours."""
    from invkit.studies.demo import run_demo

    result = run_demo(out, seed=seed)
    click.echo(json.dumps(result, indent=2) if as_json else f"Report: {out / 'report.html'}")


@click.command(cls=ModelCommand, help=f"Explain LAYER of MODEL on images DATA.\n\n{MODEL_HELP}\n\n{DATA_HELP}")
@click.argument("model")
@click.argument("layer")
@with_options(*INPUTS, model_options, *OUTPUTS)
@reported
def explain(model: str, layer: str, data: str | None, out: Path, seed: int, as_json: bool, **options: Any) -> None:
    """Explain one layer."""
    from invkit.explainer import explain as run
    from invkit.utils import distributed
    from invkit.utils.io import nan_to_none

    interpretee, arguments = _model_and_arguments(model, data, out, seed, options)
    explanation = run(interpretee, layer, **arguments)
    if not distributed.is_main():
        return
    explanation.save(out / "explanation")
    page = explanation.to_html(out / "report.html")
    metrics = nan_to_none(explanation.metrics)
    click.echo(json.dumps(metrics, indent=2) if as_json else f"{explanation}\nReport: {page}")


@click.command(
    cls=ModelCommand,
    help=f"Explain LAYERS (comma-separated addresses or globs) of MODEL on images DATA.\n\n{MODEL_HELP}\n\n{DATA_HELP}",
)
@click.argument("model")
@click.argument("layers")
@with_options(*INPUTS, model_options, *OUTPUTS)
@reported
def profile(model: str, layers: str, data: str | None, out: Path, seed: int, as_json: bool, **options: Any) -> None:
    """Explain several layers."""
    from invkit.explainer import profile as run
    from invkit.utils import distributed

    interpretee, arguments = _model_and_arguments(model, data, out, seed, options)
    result = run(interpretee, layers.split(","), **arguments)
    if not distributed.is_main():
        return
    page = result.to_html(out / "report.html")
    click.echo(json.dumps(result.to_dict(), indent=2) if as_json else f"Report: {page}")

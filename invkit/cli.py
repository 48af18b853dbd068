"""The command line: `invkit demo | explain | profile | layers`. Help imports no torch."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from invkit.errors import InvkitError, SettingsError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["main"]


def _reported(command: Callable[..., None]) -> Callable[..., None]:
    """Turn an InvkitError into one line on stderr and exit code 1; Ctrl-C into 130."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except InvkitError as error:
            click.echo(f"invkit: {error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("invkit: stopped; the same command goes on from here", err=True)
            sys.exit(130)

    return run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="invkit")
def main() -> None:
    """Show what a layer of a vision network represents, and what it throws away."""


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(
        [
            click.argument("data"),
            click.option("--concepts", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                         help="CSV file: the image's file, then a column for each concept."),
            click.option("--out", type=click.Path(path_type=Path), default=Path("explanation"), help="Output folder.",
                         show_default=True),
            click.option("--preset", type=click.Choice(["default", "quick", "paper"]), default="default"),
            click.option("--size", type=int, help="Side of the images in px, 28 to 64."),
            click.option("--seed", type=int, default=0, show_default=True),
            click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON."),
            click.option("--quiet", is_flag=True, help="No progress."),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


def _recipe_options(out: Path, preset: str, quiet: bool, **options: Any) -> dict[str, Any]:
    """Turn what `_options` reads into arguments of the recipe: `data` and the keywords of `invkit.explain`."""
    from invkit.settings import Settings

    settings = {"default": Settings, "quick": Settings.quick, "paper": Settings.paper}[preset]()
    return {**options, "settings": settings, "cache": out / "cache", "progress": not quiet}


@main.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo-output"), show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--quiet", is_flag=True, help="No progress.")
@_reported
def demo(out: Path, seed: int, as_json: bool, quiet: bool) -> None:
    """Explain SqueezeNet while it learns handwritten digits in random colours."""
    from invkit.demo import run_demo

    result = run_demo(out, seed=seed, progress=not quiet)
    click.echo(json.dumps(result, indent=2) if as_json else f"Report: {out / 'report.html'}")


@main.command()
@click.argument("model")
@click.argument("layer")
@_options
@_reported
def explain(model: str, layer: str, out: Path, as_json: bool, **options: Any) -> None:
    """Explain LAYER of MODEL on images DATA.

    MODEL is a torchvision name (resnet18, random weights unless the name carries a weights file:
    resnet18:weights.safetensors) or a Python factory: file.py:function or package.module:function.

    DATA is a folder of images, whose sub-folders are the concept `class`, or color-digits, mnist:ROOT or
    fashion-mnist:ROOT.
    """
    from invkit.recipe import explain as run

    explanation = run(load_model(model), layer, **_recipe_options(out, **options))
    explanation.save(out / "explanation")
    page = explanation.to_html(out / "report.html")
    click.echo(json.dumps(explanation.figures, indent=2) if as_json else f"{explanation!r}\nReport: {page}")


@main.command()
@click.argument("model")
@click.argument("layers")
@_options
@_reported
def profile(model: str, layers: str, out: Path, as_json: bool, **options: Any) -> None:
    """Explain several LAYERS of MODEL (comma-separated addresses or globs) on images DATA, as `explain` takes them."""
    from invkit.recipe import profile as run

    result = run(load_model(model), layers.split(","), **_recipe_options(out, **options))
    page = result.to_html(out / "report.html")
    click.echo(json.dumps(result.to_dict(), indent=2) if as_json else f"Report: {page}")


@main.command()
@click.argument("model")
@click.option("--size", type=int, default=64, show_default=True, help="Side of the image that the model is run on.")
@click.option("--json", "as_json", is_flag=True)
@_reported
def layers(model: str, size: int, as_json: bool) -> None:
    """List the layers of MODEL that fire: address, type, output shape, calls, parameters."""
    import torch

    import invkit

    found = invkit.layers(load_model(model), torch.full((1, 3, size, size), 0.5))
    if as_json:
        click.echo(json.dumps([vars(info) for info in found], indent=2))
        return
    width = max(len(info.address) for info in found)
    for info in found:
        shape = "×".join(map(str, info.shape)) if info.shape else "–"
        again = f"  ×{info.calls}" if info.calls > 1 else ""
        click.echo(f"{info.address:<{width}}  {info.type:<20} {shape:>14} {info.parameters:>12,}{again}")


def load_model(text: str) -> nn.Module:
    """Build the model that MODEL names.

    Raises:
        SettingsError: there is none of that name.
    """
    import torchvision

    head, _, tail = text.partition(":")
    if head in torchvision.models.list_models():
        model: nn.Module = torchvision.models.get_model(head, weights=None)
        if tail:
            from invkit.serialize import read_tensors

            model.load_state_dict(read_tensors(Path(tail))[0])
        return model
    try:
        if head.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(head).stem, head)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(head)
        return getattr(module, tail or "model")()
    except (ImportError, AttributeError, OSError) as error:
        raise SettingsError(
            f"No model '{text}'",
            expected="a torchvision name (resnet18), file.py:function or package.module:function",
            got=f"{type(error).__name__}: {error}",
        ) from error

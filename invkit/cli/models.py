"""`invkit models`, `invkit layers`, `invkit doctor`."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

import click

from invkit.cli.opening import open_model
from invkit.cli.options import MODEL_HELP, ModelCommand, model_options
from invkit.cli.reported import reported
from invkit.errors import PluginError

__all__ = ["doctor", "layers", "models"]

_IMAGES = 10_000


@click.command()
@click.argument("pattern", default="*")
@click.option("--json", "as_json", is_flag=True)
@reported
def models(pattern: str, as_json: bool) -> None:
    """List the models of all plugins; PATTERN is part of a name, or a glob."""
    from invkit.plugins import list_names

    wanted = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    names = [f"{prefix}:{name}" for prefix, each in list_names("model").items() for name in each]
    found = [name for name in names if fnmatchcase(name, wanted) or fnmatchcase(name.partition(":")[2], wanted)]
    if not found:
        raise PluginError(
            f"No model like '{pattern}'",
            got=f"no match among {len(names)} models",
            hint="`invkit plugins list` shows the installed plugins.",
        )
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(found))


@click.command(
    cls=ModelCommand,
    help=f"List the layers of MODEL that fire: address, type, shape, parameters, receptive field (rf),"
    f" MB for {_IMAGES:,} images, and the number of calls if there are several."
    f"\n\n{MODEL_HELP}",
)
@click.argument("model")
@model_options
@click.option("--json", "as_json", is_flag=True)
@reported
def layers(model: str, as_json: bool, **options: Any) -> None:
    """List layers."""
    import invkit

    found = invkit.layers(open_model(model, **options, to_device=False, listing=True))
    if as_json:
        click.echo(json.dumps([{**vars(info), "bytes": info.bytes(_IMAGES)} for info in found], indent=2))
        return
    width = max((len(info.address) for info in found), default=0)
    for info in found:
        shape = "×".join(map(str, info.shape)) if info.shape is not None else "–"
        megabytes = f"{info.bytes(_IMAGES) / 1e6:,.0f} MB"
        field = "" if info.receptive_field is None else f"rf {info.receptive_field}"
        calls = f"  ×{info.calls}" if info.calls > 1 else ""
        columns = f"{shape:>14} {info.parameters:>12,} {field:>7} {megabytes:>12}{calls}"
        click.echo(f"{info.address:<{width}}  {info.type:<24} {columns}")


@click.command(
    cls=ModelCommand,
    help=f"Check whether MODEL works with invkit, and report the result of each check.\n\n{MODEL_HELP}",
)
@click.argument("model")
@model_options
@reported
def doctor(model: str, **options: Any) -> None:
    """Run the conformance kit on a model."""
    from invkit.testing import check_interpretee

    report = check_interpretee(open_model(model, **options, to_device=False), raise_on_failure=False)
    click.echo(str(report))
    if not report.passed:
        raise PluginError(f"{model} does not work with invkit", hint="The failed checks are listed above.")

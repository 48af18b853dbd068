"""`invkit plugins list | check | new`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from invkit.cli.reported import reported

__all__ = ["plugins"]


@click.group()
def plugins() -> None:
    """List, check and create plugins."""


@plugins.command("list")
@click.option("--load", is_flag=True, help="Import each plugin, to find broken ones.")
@click.option("--json", "as_json", is_flag=True)
@reported
def list_(load: bool, as_json: bool) -> None:
    """List installed plugins: prefix, state, distribution, version. Without `--load` none is imported."""
    from invkit.plugins import list_plugins

    found = list_plugins(load=load)
    if as_json:
        click.echo(json.dumps([vars(info) for info in found], indent=2))
        return
    for info in found:
        click.echo(f"{info.prefix:<14} {info.state:<10} {info.distribution} {info.version}  {info.error}".rstrip())


@plugins.command()
@click.argument("name")
@click.option("--model", "models", multiple=True, help="A model to check; the default is the first one of the plugin.")
@reported
def check(name: str, models: tuple[str, ...]) -> None:
    """Run the conformance kit on the plugin with the prefix NAME."""
    from invkit.testing import check_plugin

    report = check_plugin(name, models=list(models) or None, raise_on_failure=False)
    click.echo(str(report))
    if not report.passed:
        raise SystemExit(1)


@plugins.command()
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), default=Path(), help="Folder to create it in.")
@reported
def new(name: str, into: Path) -> None:
    """Create a plugin project invkit-NAME: code, tests that call the conformance kit, README."""
    from invkit.plugins.scaffold import new_plugin

    folder = new_plugin(name, into)
    click.echo(f"Made {folder}. Next: cd {folder} && pip install -e . pytest && pytest")

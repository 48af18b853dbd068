"""The command line. `--help` does not import torch."""

from __future__ import annotations

import click

from invkit.cli.autoencoder import train_autoencoder
from invkit.cli.cache import cache
from invkit.cli.models import doctor, layers, models
from invkit.cli.plugins import plugins
from invkit.cli.study import study
from invkit.cli.work import demo, explain, profile

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="invkit")
def main() -> None:
    """Show what a layer of a vision network represents, and what it throws away."""


for _command in (demo, explain, profile, study, train_autoencoder, layers, models, doctor, plugins, cache):
    main.add_command(_command)

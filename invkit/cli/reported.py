"""Errors and warnings of a command as single lines."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from invkit.errors import InvkitError, InvkitWarning

__all__ = ["reported"]


def reported(command: Callable[..., None]) -> Callable[..., None]:
    """Report errors of invkit as one line with exit code 1, Ctrl-C with exit code 130, and warnings as one line."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show
                command(*args, **kwargs)
        except InvkitError as error:
            click.echo(f"invkit: {error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("invkit: stopped; the same command resumes from here", err=True)
            sys.exit(130)

    return run


def _show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, InvkitWarning):
        click.echo(f"invkit: {message}", err=True)

"""What commands share: errors as one line, and MODEL as an interpretee."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from invkit.errors import InvkitError, InvkitWarning, PluginError, SettingsError

if TYPE_CHECKING:
    from invkit.core import Interpretee

__all__ = ["MODEL_HELP", "model_options", "open_model", "reported"]

MODEL_HELP = """MODEL is a plugin's model (torchvision:resnet18; `invkit models` lists them) or a Python function that
gives one, file.py:function or package.module:function."""


def reported(command: Callable[..., None]) -> Callable[..., None]:
    """Turn an InvkitError into one line on stderr and exit code 1; Ctrl-C into 130; warnings into a line."""

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
            click.echo("invkit: stopped; the same command goes on from here", err=True)
            sys.exit(130)

    return run


def _show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, InvkitWarning):
        click.echo(f"invkit: {message}", err=True)


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which weights a plugin's model gets."""
    for option in (
        click.option("--local-files-only", is_flag=True, help="Never download."),
        click.option("--weights", help="random, a name that the library knows, a file, a folder or hf-hub:owner/name."),
    ):
        command = option(command)
    return command


def open_model(text: str, weights: str | None = None, local_files_only: bool = False) -> Interpretee:
    """Give the interpretee that MODEL names.

    Raises:
        InvkitError: there is none of that name, or its weights cannot be had.
    """
    from invkit.interpretees import as_interpretee, load_model

    head, _, function = text.partition(":")
    if not head.endswith(".py"):
        try:
            return load_model(text, weights=weights, local_files_only=local_files_only)
        except PluginError as error:
            if not function or not _is_module(head):
                raise error from None
    if weights is not None:
        raise SettingsError("`--weights` is for models of plugins", hint=f"Load them in {text}.")
    return as_interpretee(_call(text, head, function or "model"))


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _call(text: str, place: str, function: str) -> Any:
    try:
        if not place.endswith(".py"):
            return getattr(importlib.import_module(place), function)()
        spec = importlib.util.spec_from_file_location(Path(place).stem, place)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return getattr(module, function)()
    except (ImportError, AttributeError, OSError) as error:
        raise SettingsError(
            f"No model '{text}'",
            expected="a plugin's model, file.py:function or package.module:function",
            got=f"{type(error).__name__}: {error}",
        ) from error

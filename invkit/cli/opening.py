"""MODEL on the command line: a plugin's model, or the result of a Python function."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invkit.errors import InvkitError, PluginError, PreprocessWarning, SettingsError
from invkit.plugins import list_plugins

if TYPE_CHECKING:
    from invkit.core import Interpretee

__all__ = ["is_of_plugin", "open_model"]


def open_model(
    text: str,
    weights: str | None = None,
    local_files_only: bool = False,
    *,
    input_size: int | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    channels: int | None = None,
    to_device: bool = True,
    listing: bool = False,
) -> Interpretee:
    """Return the interpretee that MODEL names; the options are those of :func:`invkit.cli.options.model_options`.

    Args:
        text: MODEL.
        weights: for a plugin's model.
        local_files_only: never download.
        input_size: side of the model's input in px.
        mean: of its channels.
        std: of its channels.
        channels: of its input.
        to_device: move a torch model to this process's GPU, if there is one and the model is on none.
        listing: whether only layers are listed, see :func:`invkit.interpretees.for_listing`.

    Raises:
        InvkitError: no such model, weights that are not available, or the options contradict each other.
    """
    from invkit.interpretees import Preprocess, as_interpretee, for_listing
    from invkit.utils import distributed

    with warnings.catch_warnings():
        if mean is not None or channels is not None:
            warnings.simplefilter("ignore", PreprocessWarning)
        found = _found(text, weights, local_files_only)
        model = for_listing(found) if listing else as_interpretee(found)
    if to_device:
        distributed.move_to_device(getattr(model, "module", None))
    options = {"size": input_size, "mean": mean, "std": std, "channels": channels}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if not given:
        return model
    known = getattr(model, "preprocess", None)
    if not isinstance(known, Preprocess):
        known = Preprocess()
    wanted = channels or len(mean or std or known.mean)
    if wanted != known.channels:  # the known mean and std are of other channels
        known = Preprocess(known.size, mode=known.mode, channels=wanted)
    return as_interpretee(model, replace(known, **given))


def _found(text: str, weights: str | None, local_files_only: bool) -> Any:
    """Return a plugin's model, or the result of a user's function."""
    from invkit.interpretees import load_model

    head, _, function = text.partition(":")
    if not head.endswith(".py"):
        try:
            return load_model(text, weights=weights, local_files_only=local_files_only)
        except PluginError:
            if is_of_plugin(text):
                raise
    if weights is not None:
        raise SettingsError("`--weights` is for models of plugins", hint=f"Load the weights in {text}.")
    build = _function(text, head, function or "model")
    try:
        return build()
    except InvkitError:
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise SettingsError(
            f"{text} failed", got=f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
        ) from error


def is_of_plugin(text: str) -> bool:
    """Whether MODEL is a plugin's model, which takes weights, and not a function of the user."""
    head, _, function = text.partition(":")
    if head.endswith(".py"):
        return False
    if not function or any(text.startswith(f"{plugin.prefix}:") for plugin in list_plugins()):
        return True
    _look_in(Path.cwd())
    return not _is_module(head)


def _look_in(folder: Path) -> None:
    """Make the modules in a folder importable."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _function(text: str, place: str, name: str) -> Callable[[], Any]:
    """Return a function of a user's module, which can import the files beside it."""
    try:
        if not place.endswith(".py"):
            return getattr(importlib.import_module(place), name)
        file = Path(place).resolve()
        _look_in(file.parent)
        spec = importlib.util.spec_from_file_location(f"__{file.stem}__", file)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look it up there
        spec.loader.exec_module(module)
        return getattr(module, name)
    except (ImportError, AttributeError, OSError) as error:
        raise SettingsError(
            f"No model '{text}'",
            expected="a plugin's model, file.py:function or package.module:function",
            got=f"{type(error).__name__}: {error}",
        ) from error

"""Options, error messages and models that commands share."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from invkit.errors import InvkitError, InvkitWarning, PluginError, PreprocessWarning, SettingsError
from invkit.plugins import list_plugins

if TYPE_CHECKING:
    from invkit.core import Interpretee

__all__ = [
    "DATA_HELP",
    "EXPLAINER_OPTIONS",
    "INPUTS",
    "LOCAL_FILES_ONLY",
    "MODEL_HELP",
    "OUTPUTS",
    "PRESET",
    "SIZE",
    "ModelCommand",
    "expect_effect",
    "is_of_plugin",
    "model_options",
    "open_model",
    "reported",
    "with_held_out",
    "with_options",
]

MODEL_HELP = """MODEL is a plugin's model (torchvision:resnet18; `invkit models` lists them) or a Python function that
returns one, file.py:function or package.module:function."""


def _set_verbosity(context: click.Context, _: click.Parameter, silent: bool) -> None:
    if silent:
        from invkit.utils.progress import quiet

        context.with_resource(quiet())


#: names of presets, as in :data:`invkit.settings.PRESETS`, which is not imported since that imports torch
PRESET = click.option(
    "--preset",
    type=click.Choice(["few", "quick", "paper"]),
    help="For few photographs; a first look; the paper's flows. The default depends on size and number of the images.",
)
SIZE = click.option("--size", type=int, help="Side of the images in px; the default is their own, at most 64.")
OUTPUTS = (
    click.option("--seed", type=int, default=0, show_default=True),
    click.option("--json", "as_json", is_flag=True, help="Print the metrics as JSON."),
    click.option(
        "--quiet", is_flag=True, expose_value=False, callback=_set_verbosity, help="Show no progress and no messages."
    ),
)
LOCAL_FILES_ONLY = click.option("--local-files-only", is_flag=True, help="Never download.")
INPUTS = (
    click.argument("data", required=False),
    click.option(
        "--concepts",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="CSV file: the image's file, then a column for each concept.",
    ),
    click.option("--held-out", metavar="PATH", help="Images to evaluate on, as DATA; the default is a share of DATA."),
    click.option(
        "--held-out-concepts",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="CSV file of the held-out images, as `--concepts` for DATA.",
    ),
    click.option(
        "--out", type=click.Path(path_type=Path), default=Path("explanation"), help="Output folder.", show_default=True
    ),
    PRESET,
    SIZE,
    click.option("--autoencoder", help="A folder of `invkit train-autoencoder`, or a plugin's name for a trained one."),
)
#: options of :data:`INPUTS` that are arguments of :class:`invkit.Explainer`
EXPLAINER_OPTIONS = ("concepts", "held_out", "held_out_concepts", "size", "autoencoder")
DATA_HELP = """DATA is a folder of images, whose sub-folders are the concept `class`, or a named data set:
color-digits, mnist:ROOT, fashion-mnist:ROOT. Without DATA the built-in ColorDigits are taken, or the images of a
generator that `--autoencoder` names."""


def with_held_out(keywords: dict[str, Any]) -> dict[str, Any]:
    """Return arguments of :class:`invkit.Explainer`; read the images if the held-out ones have their own table.

    Raises:
        SettingsError: a table without held-out images.
    """
    table = keywords.pop("held_out_concepts")
    expect_effect("--held-out-concepts", table, "--held-out", keywords["held_out"])
    if table is None:
        return keywords
    from invkit.autoencoders import as_autoencoder
    from invkit.data import as_image_set
    from invkit.explainer.validation import read_images

    images = read_images(
        keywords["data"],
        as_autoencoder(keywords["autoencoder"]),
        keywords["settings"],
        size=keywords["size"],
        concepts=keywords["concepts"],
        groups=None,
    )
    held_out = as_image_set(
        keywords["held_out"],
        size=images.size,
        concepts=table,
    )
    return {**keywords, "data": images, "held_out": held_out, "concepts": None}


def expect_effect(option: str, value: Any, other: str, needed: Any) -> None:
    """Refuse an option that has no effect without another one.

    Raises:
        SettingsError: the option is given without the other one.
    """
    if value is not None and value is not False and needed is None:
        raise SettingsError(
            f"`{option}` has no effect without `{other}`", hint=f"Add `{other}`, or leave `{option}` out."
        )


def with_options(*options: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds options to a command, in this order."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


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


class ModelCommand(click.Command):
    """A command whose `--mean` and `--std` take one number or three: ``--mean 0.5``, ``--mean .485 .456 .406``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Join the numbers that follow an option of colours by commas."""
        joined, rest = [], list(args)
        while rest:
            word = rest.pop(0)
            if word in ("--mean", "--std") and len(rest) >= 3 and all(_is_number(each) for each in rest[:3]):
                word, rest = f"{word}={','.join(rest[:3])}", rest[3:]
            joined.append(word)
        return super().parse_args(ctx, joined)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _colours(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(each) for each in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not one number or three, such as .5 or .485 .456 .406") from None


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options for the weights of a plugin's model and for its preprocessing, to a :class:`ModelCommand`."""
    colours: dict[str, Any] = {"type": _colours, "metavar": "GREY | R G B"}
    for option in (
        click.option("--channels", type=int, help="Channels that MODEL takes, 1 (grey) or 3; the default is known."),
        click.option("--std", **colours, help="Standard deviation of the colours that MODEL expects."),
        click.option("--mean", **colours, help="Mean of the colours that MODEL expects, such as .485 .456 .406 or .5."),
        click.option("--input-size", type=int, help="Side in px of what MODEL sees; the default is its own."),
        LOCAL_FILES_ONLY,
        click.option("--weights", help="random, a name that the library knows, a file, a folder or hf-hub:owner/name."),
    ):
        command = option(command)
    return command


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
    """Return the interpretee that MODEL names; the options are those of :func:`model_options`.

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
        InvkitError: no such model, its weights cannot be had, or the options contradict each other.
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

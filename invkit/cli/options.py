"""Options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from invkit.errors import SettingsError

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
    "explainer_arguments",
    "model_options",
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


def with_options(*options: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds options to a command, in this order."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def expect_effect(option: str, value: Any, other: str, needed: Any) -> None:
    """Refuse an option that has no effect without another one.

    Raises:
        SettingsError: the option is given without the other one.
    """
    if value is not None and value is not False and needed is None:
        raise SettingsError(
            f"`{option}` has no effect without `{other}`", hint=f"Add `{other}`, or leave `{option}` out."
        )


def explainer_arguments(options: dict[str, Any], data: str | None) -> dict[str, Any]:
    """Remove the options of an Explainer from those of a command, and return the arguments of `invkit.Explainer`.

    If the held-out images have their own table of concepts, all images are read here.

    Args:
        options: of the command; `preset` and those of :data:`EXPLAINER_OPTIONS` are removed.
        data: DATA.

    Returns:
        arguments, with the images as `data`.

    Raises:
        SettingsError: an option has no effect, since there is no DATA or no `--held-out`.
    """
    given = {name: options.pop(name) for name in EXPLAINER_OPTIONS}
    table = given.pop("held_out_concepts")
    expect_effect("--held-out-concepts", table, "--held-out", given["held_out"])
    for name in ("concepts", "held_out"):
        expect_effect(f"--{name.replace('_', '-')}", given[name], "DATA", data)
    arguments = {**given, "data": data, "settings": options.pop("preset")}
    if table is None:
        return arguments
    from invkit.autoencoders import as_autoencoder
    from invkit.data import as_image_set
    from invkit.explainer.validation import read_images

    autoencoder = as_autoencoder(given["autoencoder"])
    how = {"size": given["size"], "concepts": given["concepts"], "groups": None}
    images = read_images(data, autoencoder, arguments["settings"], **how)
    held_out = as_image_set(given["held_out"], size=images.size, concepts=table)
    return {**arguments, "data": images, "held_out": held_out, "concepts": None}


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
    colours: dict[str, Any] = {"type": _colours, "metavar": "[GREY|R G B]"}
    for option in (
        click.option("--channels", type=int, help="Channels of MODEL's input, 1 (grey) or 3."),
        click.option("--std", **colours, help="Standard deviations of MODEL's input, such as .229 .224 .225 or .5."),
        click.option("--mean", **colours, help="Means of MODEL's input, such as .485 .456 .406, or .5 for grey."),
        click.option(
            "--input-size", type=int, help="Side of MODEL's input in px; the default is known or that of the images."
        ),
        LOCAL_FILES_ONLY,
        click.option("--weights", help="random, a name that the library knows, a file, a folder or hf-hub:owner/name."),
    ):
        command = option(command)
    return command

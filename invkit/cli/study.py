"""`invkit study NAME …`: the paper's experiments on the user's networks and images."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from invkit.cli.opening import is_of_plugin, open_model
from invkit.cli.options import (
    DATA_HELP,
    INPUTS,
    LOCAL_FILES_ONLY,
    MODEL_HELP,
    OUTPUTS,
    ModelCommand,
    expect_effect,
    explainer_arguments,
    model_options,
    with_options,
)
from invkit.cli.reported import reported
from invkit.errors import SettingsError

if TYPE_CHECKING:
    from invkit.evaluation import Features
    from invkit.studies import Study

__all__ = ["study"]

_MODEL, _LAYERS = click.argument("model"), click.argument("layers")
_SEEDS = click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of seeds to run, starting at SEED.",
)
_FEATURES = (
    click.option(
        "--features",
        metavar="MODEL@LAYER",
        help="Network for Fréchet distances, or `inception`; by default one is trained.",
    ),
    click.option("--features-weights", help="Weights of that network, as `--weights`; a file for `inception`."),
)


@click.group(help=f"Run an experiment of the paper on your models and images.\n\n{MODEL_HELP}\n\n{DATA_HELP}")
def study() -> None:
    """Group of the studies."""


def _command(*options: Callable[..., Any], models: bool = True) -> Callable[[Callable[..., None]], click.Command]:
    """Return a decorator for a study's command: its own options, then those of data, models (if any) and output."""
    of_models = (model_options,) if models else ()

    def make(run: Callable[..., None]) -> click.Command:
        return study.command(cls=ModelCommand)(
            with_options(*options, *INPUTS, *of_models, _SEEDS, *OUTPUTS)(reported(run))
        )

    return make


def _expect_of_plugin(option: str, model: str) -> None:
    """Refuse weights for a model that loads its own.

    Raises:
        SettingsError: the model is a function of the user.
    """
    if not is_of_plugin(model):
        raise SettingsError(f"`{option}` is for models of plugins", got=model, hint=f"Load the weights in {model}.")


def _how(options: dict[str, Any]) -> dict[str, Any]:
    """Remove and return the options of :func:`model_options`."""
    return {k: options.pop(k) for k in ("weights", "local_files_only", "input_size", "mean", "std", "channels")}


def _run(
    name: str, run: Callable[..., Study], options: dict[str, Any], data: str | None, *args: Any, **own: Any
) -> None:
    """Run a study on DATA, with one seed or several; write its page and its metrics."""
    from invkit.explainer import Explainer
    from invkit.studies import over_seeds
    from invkit.utils import distributed
    from invkit.utils.io import write_json

    out, seed, seeds, as_json = (options.pop(key) for key in ("out", "seed", "seeds", "as_json"))
    arguments = {**explainer_arguments(options, data), "cache": out / "cache"}
    images = arguments.pop("data")

    def study_of(seed: int) -> Study:
        return run(Explainer(images, seed=seed, **arguments), *args, **options, **own)

    found = study_of(seed) if seeds == 1 else over_seeds(study_of, range(seed, seed + seeds))
    if distributed.is_main():
        write_json(out / f"{name}.json", found.to_dict())
        page = found.to_html(out / f"{name}.html")
        click.echo(json.dumps(found.to_dict(), indent=2) if as_json else f"{found}\nReport: {page}")


def _features(text: str | None, weights: str | None, local_files_only: bool) -> Features | None:
    """Return the features of `--features`.

    Raises:
        SettingsError: no layer, or weights without a network or for one that loads its own.
    """
    from invkit.evaluation import Features

    expect_effect("--features-weights", weights, "--features", text)
    if text is None or text == "inception":
        return None if text is None else Features.inception(weights, local_files_only=local_files_only)
    model, at, layer = text.rpartition("@")
    if not at:
        raise SettingsError("`--features` names a model and its layer", expected="MODEL@LAYER or inception", got=text)
    if weights is not None:
        _expect_of_plugin("--features-weights", model)
    return Features(open_model(model, weights, local_files_only), layer)


@_command(_MODEL, _LAYERS)
def layers(model: str, layers: str, data: str | None, **options: Any) -> None:
    """Invariance and concepts of LAYERS, one after the other (section 4.2)."""
    from invkit.studies import layers as run

    _run("layers", run, options, data, open_model(model, **_how(options)), layers.split(","))


@_command(
    _MODEL,
    _LAYERS,
    *_FEATURES,
    click.option("--gradient", is_flag=True, help="Gradient descent too."),
    click.option(
        "--latent-dim",
        type=click.IntRange(min=1),
        default=4096,
        show_default=True,
        help="Width of the decoder's embedding of a representation.",
    ),
)
def comparison(
    model: str, layers: str, data: str | None, features: str | None, features_weights: str | None, **options: Any
) -> None:
    """Samples at LAYERS against a decoder that regresses the image (section 4.1)."""
    from invkit.studies import comparison as run

    known = _features(features, features_weights, options["local_files_only"])
    opened = open_model(model, **_how(options))
    _run("comparison", run, options, data, opened, layers.split(","), features=known)


@_command(
    _MODEL,
    click.argument("layer"),
    click.option("--checkpoint", "checkpoints", multiple=True, type=click.Path(exists=True, path_type=Path),
                 help="Weights of MODEL, in the order of training; the file name without its suffix is the step."),
    click.option("--task", required=True, help="The concept that MODEL is trained to classify."),
)  # fmt: skip
def dynamics(model: str, layer: str, data: str | None, checkpoints: tuple[Path, ...], **options: Any) -> None:
    """LAYER over checkpoints of MODEL's training (section 4.2, B.4)."""
    from invkit.interpretees import ModuleInterpretee, load_weights
    from invkit.studies import dynamics as run

    opened = open_model(model, **_how(options))
    if not isinstance(opened, ModuleInterpretee):
        raise SettingsError("Weights cannot be put into this model", expected="an nn.Module", got=type(opened).__name__)
    found = {}
    for file in checkpoints:
        if file.stem in found:
            raise SettingsError(
                "Two checkpoints have the same name",
                expected="one name for each, its step",
                got=file.stem,
                hint="Rename one.",
            )
        module = copy.deepcopy(opened.module)
        load_weights(module, file)
        found[file.stem] = opened.around(module)
    _run("dynamics", run, options, data, found, layer)


@_command(
    _MODEL,
    _LAYERS,
    click.option(
        "--concept",
        default="class",
        show_default=True,
        help="Concept whose classes MODEL predicts; '' takes its own decisions as correct.",
    ),
    click.option("--attack", type=click.Choice(["fgsm", "pgd"]), default="fgsm", show_default=True),
    click.option(
        "--epsilon", type=float, default=0.02, show_default=True, help="Largest change of a pixel value in [0, 1]."
    ),
    click.option("--steps", type=int, show_default="10", help="Steps of `pgd`."),
    click.option(
        "--target",
        help="Target class: its name, or its number if that is not a name in MODEL; by default any wrong class.",
    ),
    click.option(
        "--images",
        type=click.IntRange(min=1),
        default=400,
        show_default=True,
        help="Largest number of images to attack.",
    ),
    click.option("--judge", is_flag=True, help="Train a classifier of the samples."),
)
def adversarial(model: str, layers: str, data: str | None, concept: str, **options: Any) -> None:
    """Where along LAYERS an attack on MODEL shows (section 4.3)."""
    from invkit.studies import Attack
    from invkit.studies import adversarial as run

    expect_effect("--judge", options["judge"], "--concept NAME", concept or None)
    attack = Attack(*(options.pop(name) for name in ("attack", "epsilon", "steps", "target")))
    opened = open_model(model, **_how(options))
    _run("adversarial", run, options, data, opened, layers.split(","), attack=attack, concept=concept or None)


@_command(
    _MODEL,
    click.argument("twin"),
    _LAYERS,
    click.option("--twin-weights", help="As `--weights`, for TWIN only; by default those of MODEL."),
    click.option(
        "--cues",
        help="Concept whose classes are mixed into cue conflicts; without it, DATA has concepts shape and texture.",
    ),
    click.option(
        "--strength",
        type=click.FloatRange(0, 1),
        show_default="1",
        help="Share of the other image's texture in those cue conflicts.",
    ),
    click.option("--shape", default="shape", show_default=True, help="Name of that concept in DATA."),
    click.option("--texture", default="texture", show_default=True, help="Name of that concept in DATA."),
    click.option("--probes", help="Other images to show samples of: textures, sketches, cartoons."),
)
def texture(
    model: str,
    twin: str,
    layers: str,
    data: str | None,
    twin_weights: str | None,
    strength: float | None,
    shape: str,
    texture: str,
    **options: Any,
) -> None:
    """Shape and texture in MODEL and in its stylised-trained TWIN (section 4.3)."""
    from invkit.studies import texture as run

    expect_effect("--strength", strength, "--cues", options["cues"])
    how = _how(options)
    if twin_weights is not None:
        _expect_of_plugin("--twin-weights", twin)
    elif is_of_plugin(twin):
        twin_weights = how["weights"]
    models = {"plain": open_model(model, **how), "stylised": open_model(twin, **{**how, "weights": twin_weights})}
    own = {} if strength is None else {"strength": strength}
    _run("texture", run, options, data, models, layers.split(","), concepts=(shape, texture), **own)


@_command(
    _MODEL,
    _LAYERS,
    click.option("--home", help="Images of the domain that MODEL was trained on."),
    click.option("--home-held-out", help="Images of that domain to evaluate on."),
    click.option("--concept", default="class", show_default=True, help="Concept with the classes of DATA, if any."),
)
def shift(model: str, layers: str, data: str | None, **options: Any) -> None:
    """MODEL on images of a domain that it was not trained on (section B.6)."""
    from invkit.studies import shift as run

    expect_effect("--home-held-out", options["home_held_out"], "--home", options["home"])
    _run("shift", run, options, data, open_model(model, **_how(options)), layers.split(","))


@_command(_MODEL, click.argument("layer"), click.option("--stages", type=int, default=2, show_default=True))
def sanity(model: str, layer: str, data: str | None, **options: Any) -> None:
    """Whether the explanation of LAYER depends on MODEL's weights."""
    from invkit.studies import sanity as run

    _run("sanity", run, options, data, open_model(model, **_how(options)), layer)


@_command(
    *_FEATURES,
    LOCAL_FILES_ONLY,
    click.option(
        "--edits",
        type=click.IntRange(min=1),
        default=600,
        show_default=True,
        help="Number of images that are edited for each concept.",
    ),
    click.option("--star-gan", is_flag=True, help="StarGAN as a further baseline."),
    models=False,
)
def modification(
    data: str | None, features: str | None, features_weights: str | None, local_files_only: bool, **options: Any
) -> None:
    """Swap each concept of the images DATA (section 4.4, B.5)."""
    from invkit.studies import modification as run

    _run("modification", run, options, data, features=_features(features, features_weights, local_files_only))

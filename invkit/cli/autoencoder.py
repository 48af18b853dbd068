"""`invkit train-autoencoder`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from invkit.cli.opening import open_model
from invkit.cli.options import DATA_HELP, OUTPUTS, SIZE, with_options
from invkit.cli.reported import reported
from invkit.errors import SettingsError

if TYPE_CHECKING:
    from invkit.autoencoders import AutoencoderSettings

__all__ = ["train_autoencoder"]


@click.command(
    "train-autoencoder",
    help=f"Train an autoencoder on images DATA, for explanations with `--autoencoder`.\n\n{DATA_HELP}",
)
@click.argument("data")
@click.option(
    "--preset",
    type=click.Choice(["default", "tiny", "small", "paper"]),
    help="For small images; photographs on a CPU; on a GPU; as in the paper. The default depends on the size.",
)
@SIZE
@click.option("--latent-dim", type=int, help="Dimension of the code; the default is the preset's.")
@click.option("--steps", type=int, help="Training steps; the default is the preset's.")
@click.option("--perceptual", help="Perceptual loss: none, lpips or a MODEL; the default is the preset's.")
@click.option("--perceptual-layers", default="", help="Layers of that MODEL, comma-separated.")
@click.option(
    "--encoder-weights",
    help="Weights of the ResNet encoder (table S7): DEFAULT, random or a file; the default is the preset's.",
)
@click.option("--features", help="A MODEL whose features are used for Fréchet distances.")
@click.option("--features-layer", default="output", show_default=True, help="Layer of that MODEL.")
@click.option("--device", help="cpu or cuda; the default is a GPU if there is one.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("autoencoder"), show_default=True)
@with_options(*OUTPUTS)
@reported
def train_autoencoder(data: str, out: Path, seed: int, as_json: bool, **options: Any) -> None:
    """Train an autoencoder; its folder is the `--autoencoder` of `invkit explain`."""
    from invkit.autoencoders import AutoencoderSettings
    from invkit.autoencoders import train_autoencoder as run
    from invkit.data import as_image_set
    from invkit.evaluation import Features
    from invkit.interpretees import PerceptualDistance
    from invkit.utils import distributed

    size = options["size"] or AutoencoderSettings.size_of(options["preset"])
    images: Any = data
    if not size:
        images = as_image_set(data)
    settings, perceptual = _settings(options, size or images.size), None
    if options["perceptual"] not in (None, "none", "lpips"):
        layers = [layer for layer in options["perceptual_layers"].split(",") if layer]
        if not layers:
            raise SettingsError("`--perceptual MODEL` needs layers", expected="--perceptual-layers A,B")
        perceptual = PerceptualDistance(open_model(options["perceptual"]), layers)
    features = Features(open_model(options["features"]), options["features_layer"]) if options["features"] else None
    trained = run(
        images,
        size=size,
        settings=settings,
        perceptual=perceptual,
        features=features,
        seed=seed,
        cache=out / "cache",
        sheets=out / "sheets",
        device=options["device"],
    )
    if not distributed.is_main():
        return
    trained.save(out)
    page = trained.to_html(out / "report.html")
    metrics = {name: vars(value) for name, value in trained.metrics.items()}
    if not trained.result.complete:
        click.echo(f"invkit: stopped at step {trained.result.steps}; the same command resumes from there", err=True)
    click.echo(json.dumps(metrics, indent=2) if as_json else f"{trained}\nReport: {page}")


def _settings(options: dict[str, Any], size: int) -> AutoencoderSettings:
    """Return the settings of the preset, or of the size, with the options of the command line."""
    from invkit.autoencoders import AutoencoderSettings

    preset = options["preset"]
    settings = AutoencoderSettings.preset(preset) if preset else AutoencoderSettings.for_images(size)
    given: dict[str, Any] = {} if options["latent_dim"] is None else {"latent_dim": options["latent_dim"]}
    if options["steps"] is not None:
        share = options["steps"] / settings.fit.steps
        every = max(1, min(settings.fit.evaluate_every, options["steps"] // 10))
        given["fit"] = replace(settings.fit, steps=options["steps"], evaluate_every=every)
        given["discriminator_from"] = round(share * settings.discriminator_from)
    if options["encoder_weights"] is not None:
        given["encoder_weights"] = options["encoder_weights"]
    if options["perceptual"] is not None:
        given["perceptual"] = "lpips" if options["perceptual"] == "lpips" else "none"
    return replace(settings, **given)

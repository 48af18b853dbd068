"""Layer by layer, invkit's samples against images that a decoder regresses (paper, sec. 4.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from invkit.autoencoders import AutoencoderSettings
from invkit.core import Estimate, Interpretee
from invkit.data import ImageSet, Rows, decode_all, evenly_spaced
from invkit.errors import SettingsError
from invkit.evaluation import Features, consistency, frechet_difference, frechet_distance, kernel_distance
from invkit.explainer import Explainer, as_explainer, find_layers
from invkit.explanation import Explanation
from invkit.explanation.sections import closing_sections
from invkit.flows import InvarianceFlow
from invkit.interpretees import as_interpretee
from invkit.studies.inverting.descent import inverted
from invkit.studies.inverting.page import Inverted, distances_section, how_section, picture_sections
from invkit.studies.inverting.regression import regress, trained_regressor
from invkit.studies.judging import judge_features, trained_judge
from invkit.studies.study import Study
from invkit.studies.subjects import explain_layers
from invkit.utils.io import content_hash
from invkit.utils.random import generator_for
from invkit.utils.resources import rows_in_memory

__all__ = ["comparison"]

OURS, THEIRS, DESCENT, RECONSTRUCTIONS = "invkit's samples", "regressed images", "gradient descent", "reconstructions"

_CLAIM = (
    "At late layers, images sampled given a layer's representation look like images of the data, by their Fréchet "
    "distance, while those that a decoder regresses from it (Dosovitskiy & Brox, 2016) do not: what the layer has "
    "thrown away is drawn anew in the former and averaged in the latter (sec. 4.1)."
)
_MOST, _CONSISTENT = 5000, 600  # held-out images behind distances, and behind consistencies
_SHOWN, _COLUMNS = 6, 4
_BATCH = 256


def comparison(
    explainer: Explainer | Any,
    model: str | nn.Module | Interpretee,
    layers: str | nn.Module | Sequence[str | nn.Module],
    *,
    features: Features | None = None,
    gradient: bool = False,
    latent_dim: int = 4096,
    preprocess: Callable[[Tensor], Tensor] | None = None,
) -> Study:
    """Compare invkit's samples with Dosovitskiy & Brox's regressed images, layer by layer (paper, sec. 4.1).

    Their decoder is the autoencoder's behind an embedding of z, trained as the settings say of an autoencoder: as long,
    by the same metric of images, but without KL, noise on the code and discriminator. How that was is known of an
    autoencoder that is trained here or, by settings alone and to the end, by :func:`invkit.train_autoencoder`; where
    nobody knows it their decoder is trained as `settings.autoencoder` says, and there is no verdict. There is none
    either where the autoencoder saw images mirrored and cropped anew, and their decoder, as t, those of the data alone:
    it sees such ones with `settings.copies` of 2 or more. It reads z as t does, with the noise floor.
    One image is made for each held-out image, in either way; their Fréchet and kernel distances to the held-out images
    are taken in the features of a network that had no part in making them.

    Args:
        explainer: an :class:`invkit.Explainer`, its folder, or images to make one of with default settings.
        model: whose layers are inverted, as in :func:`invkit.profile`.
        layers: addresses, modules or globs, from early to late; the claim is judged at the last.
        features: of the distances, for instance `Features.inception()`; None trains a small network to read the
            concepts from images alone, and takes its last maps.
        gradient: invert some images also by gradient descent (Mahendran & Vedaldi, 2015).
        latent_dim: width of their embedding of z; the paper's is 4096.
        preprocess: from images in [0, 1] to the model's input.

    Returns:
        headline: Fréchet distance of both at each layer, and theirs less ours at the last; the claim holds where that
        is above two standard errors, and fails where it is as far below 0.

    Raises:
        SettingsError: neither `features` nor concepts to train them on.
        InvkitError: as :func:`invkit.profile`.
    """
    interpretee = as_interpretee(model, preprocess)
    addresses = find_layers(interpretee, layers)
    explainer = as_explainer(explainer)
    if features is None and not explainer.train.concepts:
        raise SettingsError(
            "A Fréchet distance needs a network's features, and there are no concepts to train one on",
            expected="`features`, or `concepts`",
            hint="Pass features=Features.inception(), Features(interpretee, layer) of a network that you have, or "
            "concepts={name: labels}.",
        )
    explainer.check([(interpretee, addresses)])
    if gradient:
        interpretee.features(explainer.train.images(slice(2)), addresses)
    explainer.fit(strict=True)
    training = explainer.autoencoder_settings
    size = explainer.train.size
    theirs = training or explainer.settings.autoencoder or AutoencoderSettings.for_images(size)
    doubts = _doubts(training, explainer.settings.copies)
    features = features or judge_features(trained_judge(explainer, redrawn=False))
    z_of = explainer.representations(interpretee, addresses)
    explanations = explain_layers(explainer, interpretee, addresses, z=z_of)
    key = interpretee.fingerprint()
    rows = evenly_spaced(len(explainer.held_out), _MOST)
    real = features.of(explainer.held_out.take(rows))
    alike = _groups(explainer.held_out, rows)
    others = evenly_spaced(len(explainer.train), len(rows))  # the originals come first

    def distances(seen: Tensor, groups: Tensor | None, independent: bool = False) -> dict[str, Estimate]:
        """Compare the features of as many images with those of the held-out ones."""
        return {
            "Fréchet distance": frechet_distance(real, seen, (alike, groups), independent=independent),
            "kernel distance": kernel_distance(real, seen, (alike, groups), independent=independent),
        }

    found = {}
    for layer, explanation in explanations.items():
        title = f"regression from {layer}"
        z, t = z_of[layer][1], explanation.t
        regressor = trained_regressor(explainer, t, z_of[layer], theirs, content_hash(key, layer), title, latent_dim)
        made = {
            OURS: decode_all(explainer.autoencoder, _sampled(t, z, rows, explainer.seed)),
            THEIRS: regress(regressor, t, z, rows, generator_for(explainer.seed, "regressed")),
        }
        seen = {way: features.of(images) for way, images in made.items()}
        apart = {way: distances(each, alike) for way, each in seen.items()}
        found[layer] = _layer(explainer, interpretee, explanation, rows, z, made, apart, gradient)
    ahead = frechet_difference(real, seen[THEIRS], seen[OURS], alike)  # at the last layer
    reconstructed = features.of(decode_all(explainer.autoencoder, explainer.held_out_codes.mean[rows]))
    known = {
        "other images (of training)": distances(
            features.of(explainer.train_copies.images(others)),
            _groups(explainer.train_copies, others),
            independent=True,
        ),
        RECONSTRUCTIONS: distances(reconstructed, alike),
    }
    about = {
        "their embedding of z": latent_dim,
        "their training": "; ".join([_spelt(theirs), *doubts]),
        "features of the distances": f"{features.interpretee!r} {features.layer}",
    }
    return _told(explanations, found, ahead, known, about, fair=not doubts)


def _groups(data: ImageSet, rows: Tensor) -> Tensor | None:
    return None if data.groups is None else data.groups[rows]


def _doubts(training: AutoencoderSettings | None, copies: int) -> list[str]:
    """Say in what their decoder is not trained as the autoencoder was, which the claim cannot then be judged by."""
    if training is None:
        return ["no settings tell how the autoencoder was trained"]
    return ["not on images mirrored and cropped, as the autoencoder was"] if training.augment and copies == 1 else []


def _spelt(settings: AutoencoderSettings) -> str:
    metric = settings.pixel if settings.perceptual == "none" else f"{settings.pixel} and {settings.perceptual}"
    return f"{settings.fit.steps:,} steps by {metric}, without a discriminator"


@torch.no_grad()
def _sampled(t: InvarianceFlow, z: Rows, rows: Tensor, seed: int) -> Tensor:
    """Draw one code for each of these rows (M,) of representations, each with a v of its own, (M, N)."""
    generator = generator_for(seed, "compared samples")
    parts = rows.split(rows_in_memory(_BATCH, z.shape[1:]))
    return torch.cat([t.sample(t.perceive(z[part], generator), 1, generator)[:, 0] for part in parts])


def _layer(
    explainer: Explainer,
    interpretee: Interpretee,
    explanation: Explanation,
    rows: Tensor,
    z: Rows,
    made: Mapping[str, Tensor],
    distances: Mapping[str, Mapping[str, Estimate]],
    gradient: bool,
) -> Inverted:
    """Judge what both ways made of the held-out images `rows`, and lay some of them side by side."""
    layer, data = explanation.layer, explainer.held_out
    some, shown = (evenly_spaced(len(rows), n) for n in (rows_in_memory(_CONSISTENT, z.shape[1:]), _SHOWN))

    def consistent(which: Tensor, images: Tensor) -> Estimate:
        seen = torch.cat([interpretee.represent(x, [layer])[layer] for x in images.split(_BATCH)])
        return consistency(z[rows[which]], seen[:, None], _groups(data, rows[which])).distance

    metrics = {way: {**distances[way], "inconsistency": consistent(some, x[some])} for way, x in made.items()}
    codes = explainer.held_out_codes.mean[rows[some]]
    metrics[RECONSTRUCTIONS] = {"inconsistency": consistent(some, decode_all(explainer.autoencoder, codes))}
    images = data.images(rows[shown])
    sheet = {
        "x": images[:, None],
        "D(E(x))": decode_all(explainer.autoencoder, explainer.held_out_codes.mean[rows[shown]])[:, None],
        "regressed": made[THEIRS][shown][:, None],
    }
    if gradient:
        descended = inverted(interpretee, layer, z[rows[shown]], data.size, seed=explainer.seed)
        metrics[DESCENT] = {"inconsistency": consistent(shown, descended)}
        sheet["descent"] = descended[:, None]
    sheet["invkit's samples"] = explanation.sample_from(z[rows[shown]], _COLUMNS)
    return Inverted(metrics, sheet)


def _told(
    explanations: Mapping[str, Explanation],
    found: Mapping[str, Inverted],
    ahead: Estimate,
    known: Mapping[str, Mapping[str, Estimate]],
    about: Mapping[str, Any],
    fair: bool,
) -> Study:
    """Put the study together."""
    name, last = "Fréchet distance", list(found)[-1]
    headline = {f"{name}, {way}, '{layer}'": each.metrics[way][name] for layer, each in found.items()
                for way in (OURS, THEIRS)}  # fmt: skip
    headline[f"{THEIRS} less {OURS} at '{last}'"] = ahead
    metrics = {
        "layers": {layer: _plain(each.metrics) for layer, each in found.items()},
        "whatever the layer": _plain(known),
    }
    sections = [
        how_section(),
        distances_section(found, known),
        *picture_sections(found),
        *closing_sections(explanations, about),
    ]
    title = "Samples against regressed images, layer by layer"
    return Study("comparison", title, _CLAIM, headline, ahead.exceeds() if fair else None, metrics, sections)


def _plain(metrics: Mapping[str, Mapping[str, Estimate]]) -> dict[str, dict[str, Any]]:
    return {way: {name: vars(estimate) for name, estimate in own.items()} for way, own in metrics.items()}

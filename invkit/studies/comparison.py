"""invkit's samples against images that a decoder regresses, layer by layer (paper, sec. 4.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from invkit.autoencoders import AutoencoderSettings
from invkit.core import Estimate, Interpretee
from invkit.data import Rows, decode_all, evenly_spaced
from invkit.errors import SettingsError
from invkit.evaluation import Features, consistency, frechet_difference
from invkit.explainer import Explainer, as_explainer, find_layers
from invkit.explanation import Explanation
from invkit.explanation.sections import closing_sections
from invkit.flows import InvarianceFlow
from invkit.interpretees import as_interpretee
from invkit.studies.inverting.descent import inverted
from invkit.studies.inverting.page import Inverted, distances_section, how_section, picture_sections
from invkit.studies.inverting.reference import Reference, groups_of
from invkit.studies.inverting.regression import Regressor, regress, trained_regressor
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
    "discarded is sampled in the former and averaged in the latter (sec. 4.1)."
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

    The regressed images come from the autoencoder's decoder behind an embedding of z. It is trained as the autoencoder
    was: for as many steps, with the same image metric, but without KL, noise on the code and discriminator. It reads z
    as t does, with the noise floor. Each way makes one image per held-out image; Fréchet and kernel distances to the
    held-out images are computed in the features of a network that had no part in making them.

    There is no verdict if the decoder cannot be trained as the autoencoder was: its settings are unknown (they are
    known of an autoencoder that is trained here, or completely and by settings alone by
    :func:`invkit.train_autoencoder`), or it saw randomly flipped and cropped images and `settings.copies` is 1, so that
    the decoder, as t, sees the stored ones only. Unknown settings are replaced by `settings.autoencoder`.

    Args:
        explainer: an :class:`invkit.Explainer`, its folder, or images to make one of with default settings.
        model: whose layers are inverted, as in :func:`invkit.profile`.
        layers: addresses, modules or globs, from early to late; the claim is evaluated at the last.
        features: features of the distances, for instance `Features.inception()`; None trains a small network to read
            the concepts from images alone, and takes its last maps.
        gradient: invert some images also by gradient descent (Mahendran & Vedaldi, 2015).
        latent_dim: width of the decoder's embedding of z; the paper's is 4096.
        preprocess: from images in [0, 1] to the model's input.

    Returns:
        headline: Fréchet distance of both at each layer, and that of regressed images less that of samples at the last;
        the claim holds if the difference exceeds two standard errors, and fails if it is as far below 0.

    Raises:
        SettingsError: neither `features` nor concepts to train them on.
        LayerError: an unknown layer, or `gradient` for a model without gradients.
        InvkitError: as :func:`invkit.profile`.

    Example:
        >>> features = invkit.evaluation.Features(network, "2")
        >>> study = invkit.studies.comparison(explainer, network, "2", features=features, latent_dim=16)
        >>> list(study.metrics["layers"]["2"])
        ["invkit's samples", 'regressed images', 'reconstructions']
    """
    interpretee = as_interpretee(model, preprocess)
    addresses = find_layers(interpretee, layers)
    explainer = as_explainer(explainer)
    _check(explainer, interpretee, addresses, features, gradient)
    explainer.fit(strict=True)
    training, doubts = _training(explainer)
    reference = Reference.of(
        features or judge_features(trained_judge(explainer, redrawn=False)), explainer.held_out, _MOST
    )
    z_of = explainer.representations(interpretee, addresses)
    explanations = explain_layers(explainer, interpretee, addresses, z=z_of)
    found = {}
    for layer, explanation in explanations.items():
        key, title = content_hash(interpretee.fingerprint(), layer), f"regression from {layer}"
        regressor = trained_regressor(explainer, explanation.t, z_of[layer], training, key, title, latent_dim)
        made = _made(explainer, explanation.t, z_of[layer][1], regressor, reference.rows)
        seen = {way: reference.features.of(images) for way, images in made.items()}
        found[layer] = _inverted(explainer, explanation, z_of[layer][1], made, seen, reference, gradient)
    ahead = frechet_difference(reference.seen, seen[THEIRS], seen[OURS], reference.groups)  # at the last layer
    about = {
        "their embedding of z": latent_dim,
        "their training": "; ".join([_spelt(training), *doubts]),
        "features of the distances": f"{reference.features.interpretee!r} {reference.features.layer}",
    }
    return _study(explanations, found, ahead, _known(explainer, reference), about, fair=not doubts)


def _check(
    explainer: Explainer, interpretee: Interpretee, addresses: Sequence[str], features: Features | None, gradient: bool
) -> None:
    """Raise an error for what would fail after training."""
    if features is None and not explainer.train.concepts:
        raise SettingsError(
            "A Fréchet distance needs a network's features, and there are no concepts to train one on",
            expected="`features`, or `concepts`",
            hint="Pass features=Features.inception(), Features(interpretee, layer) of another network, or an Explainer "
            "with concepts={name: labels}.",
        )
    explainer.check([(interpretee, addresses)])
    if gradient:
        interpretee.features(explainer.train.images(slice(2)), addresses)


def _training(explainer: Explainer) -> tuple[AutoencoderSettings, list[str]]:
    """Return the settings of the regressing decoder, and how they differ from the autoencoder's training."""
    known, settings = explainer.autoencoder_settings, explainer.settings
    chosen = known or settings.autoencoder or AutoencoderSettings.for_images(explainer.train.size)
    return chosen, _doubts(known, settings.copies)


def _doubts(training: AutoencoderSettings | None, copies: int) -> list[str]:
    """Return how the regressing decoder is not trained as the autoencoder was; then there is no verdict."""
    if training is None:
        return ["it is unknown how the autoencoder was trained"]
    stored_only = training.augment and copies == 1
    return ["not on randomly flipped and cropped images, as the autoencoder was"] if stored_only else []


def _spelt(settings: AutoencoderSettings) -> str:
    metric = settings.pixel if settings.perceptual == "none" else f"{settings.pixel} and {settings.perceptual}"
    return f"{settings.fit.steps:,} steps by {metric}, without a discriminator"


def _made(explainer: Explainer, t: InvarianceFlow, z: Rows, regressor: Regressor, rows: Tensor) -> dict[str, Tensor]:
    """Return one image (M, 3, S, S) for each of some rows (M,) of representations, by way of inversion."""
    return {
        OURS: decode_all(explainer.autoencoder, _sampled(t, z, rows, explainer.seed)),
        THEIRS: regress(regressor, t, z, rows, generator_for(explainer.seed, "regressed")),
    }


@torch.no_grad()
def _sampled(t: InvarianceFlow, z: Rows, rows: Tensor, seed: int) -> Tensor:
    """Draw one code for each of some rows (M,) of representations, each with its own v, (M, N)."""
    generator = generator_for(seed, "compared samples")
    parts = rows.split(rows_in_memory(_BATCH, z.shape[1:]))
    return torch.cat([t.sample(t.perceive(z[part], generator), 1, generator)[:, 0] for part in parts])


def _inverted(
    explainer: Explainer,
    explanation: Explanation,
    z: Rows,
    made: Mapping[str, Tensor],
    seen: Mapping[str, Tensor],
    reference: Reference,
    gradient: bool,
) -> Inverted:
    """Measure what both ways made of the held-out images, and show some of them side by side."""
    data, rows, codes = explainer.held_out, reference.rows, explainer.held_out_codes.mean
    some, shown = (evenly_spaced(len(rows), n) for n in (rows_in_memory(_CONSISTENT, z.shape[1:]), _SHOWN))

    def inconsistency(which: Tensor, images: Tensor) -> Estimate:
        again = torch.cat([explanation.represent(x) for x in images.split(_BATCH)])
        return consistency(z[rows[which]], again[:, None], groups_of(data, rows[which])).distance

    def reconstructed(which: Tensor) -> Tensor:
        return decode_all(explainer.autoencoder, codes[rows[which]])

    metrics = {way: {**reference.paired(seen[way]), "inconsistency": inconsistency(some, images[some])}
               for way, images in made.items()}  # fmt: skip
    metrics[RECONSTRUCTIONS] = {"inconsistency": inconsistency(some, reconstructed(some))}
    sheet = {
        "x": data.images(rows[shown])[:, None],
        "D(E(x))": reconstructed(shown)[:, None],
        "regressed": made[THEIRS][shown][:, None],
    }
    if gradient:
        assert explanation.interpretee is not None
        descended = inverted(explanation.interpretee, explanation.layer, z[rows[shown]], data.size, seed=explainer.seed)
        metrics[DESCENT] = {"inconsistency": inconsistency(shown, descended)}
        sheet["descent"] = descended[:, None]
    sheet["invkit's samples"] = explanation.sample_from(z[rows[shown]], _COLUMNS)
    return Inverted(metrics, sheet)


def _known(explainer: Explainer, reference: Reference) -> dict[str, dict[str, Estimate]]:
    """Return distances that do not depend on the layer: of training images, and of reconstructions."""
    reconstructions = decode_all(explainer.autoencoder, explainer.held_out_codes.mean[reference.rows])
    return {
        "other images (of training)": reference.independent(explainer.train_copies),
        RECONSTRUCTIONS: reference.paired(reference.features.of(reconstructions)),
    }


def _study(
    explanations: Mapping[str, Explanation],
    found: Mapping[str, Inverted],
    ahead: Estimate,
    known: Mapping[str, Mapping[str, Estimate]],
    about: Mapping[str, Any],
    fair: bool,
) -> Study:
    """Return the study of what was measured."""
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

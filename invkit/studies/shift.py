"""Domain shift (paper, sec. B.6, fig. S10): a network explained on images of another domain than its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from invkit.autoencoders import AutoencoderSettings, train_autoencoder, training_settings
from invkit.core import Autoencoder, Estimate, Interpretee
from invkit.data import Generated, ImageSet, as_image_set, concatenate_images, encode_all
from invkit.errors import DataError
from invkit.evaluation.consistency import other_rows
from invkit.evaluation.estimate import jackknife
from invkit.explainer import Explainer, as_explainer, find_layers
from invkit.explanation import Explanation
from invkit.explanation.sections import closing_sections
from invkit.interpretees import as_interpretee
from invkit.report import Section
from invkit.studies.shift_page import Domain, Kept, decisions_sections, layers_section, numbers_section
from invkit.studies.study import Study, shows, verdict
from invkit.studies.subjects import class_concept, explain_layers
from invkit.utils.random import generator_for

__all__ = ["kept", "shift"]

_CLAIM = (
    "Representations of images of another domain than the network was trained on can still be shown, the deep ones "
    "too: samples keep the appearance of the image, and to some degree its class, even given the last layer (sec. B.6)."
)
_EACH = 8  # samples of an image
_CLASSES = "class"  # the concept of a folder's sub-folders


def shift(
    explainer: Explainer | Any,
    model: str | nn.Module | Interpretee,
    layers: str | nn.Module | Sequence[str | nn.Module],
    *,
    home: Any = None,
    home_held_out: Any = None,
    concept: str = _CLASSES,
    preprocess: Callable[[Tensor], Tensor] | None = None,
) -> Study:
    """Explain a network on images of a foreign domain, and on those it was trained on (paper, sec. B.6).

    One autoencoder is trained on images of both domains, as in the paper, so that shares of the code's variance can be
    compared; one that was passed to the Explainer serves both as it is. The verdict is about the last layer and the
    foreign images: samples must be nearer to their own image than to others, in the code and, if the images have
    classes, in the classes' factor of e.

    Args:
        explainer: an :class:`invkit.Explainer` of the foreign images, its folder, or these images.
        model: as in :func:`invkit.profile`.
        layers: addresses, modules or globs, from early to late.
        home: images of the network's own domain, an ImageSet if they have concepts. None to leave them out.
        home_held_out: held-out images of that domain, preferably unseen by the network. None holds out a share of
            `home`.
        concept: name of the foreign images' classes. Any other name than `class` must exist.
        preprocess: from images in [0, 1] to the model's input.

    Returns:
        the study. Its headline holds the last layer's invariance in each domain, and how much nearer samples are to
        their own image than to others (:func:`kept`). The claim holds if the latter is positive on foreign images by
        two standard errors, and fails if it is significantly below 0.02.

    Raises:
        DataError: generated images together with `home`, as they cannot share a trained autoencoder; held-out images of
            a single group.
        InvkitError: as :func:`invkit.profile`.

    Example:
        >>> study = invkit.studies.shift(explainer, network, "4")
        >>> list(study.headline)
        ['invariance of the last layer, foreign', 'appearance kept by samples of the last layer, foreign']
    """
    interpretee = as_interpretee(model, preprocess)
    addresses = find_layers(interpretee, layers)
    foreign = as_explainer(explainer)
    foreign.check([(interpretee, addresses)])
    if concept != _CLASSES:
        class_concept(foreign.train, concept)
    found: dict[str, Domain] = {}
    shares: dict[str, Kept] = {}
    for name, domain in _domains(foreign, home, home_held_out).items():
        found[name] = explain_layers(domain, interpretee, addresses, f"{name},")
        shares[name] = {layer: kept(each, domain.seed) for layer, each in found[name].items()}
    return _study_of(found, shares, concept, decisions_sections(interpretee, foreign.held_out, concept))


def _domains(foreign: Explainer, home: Any, home_held_out: Any) -> dict[str, Explainer]:
    """Return the Explainer of each domain; train the autoencoder of both if none was passed."""
    domains = {"foreign": foreign}
    if home is not None:
        domains["home"] = _at_home(foreign, home, home_held_out)
    for domain in domains.values():
        other_rows(len(domain.held_out), domain.held_out.groups, seed=0)  # raises an error before any training
    if home is None or not foreign.autoencoder_is_trained_here:
        return domains
    joint, how = _joint(domains)
    return {name: each.replace(autoencoder=joint, trained_by=how) for name, each in domains.items()}


def _study_of(
    found: Mapping[str, Domain], shares: Mapping[str, Kept], concept: str, decisions: Sequence[Section]
) -> Study:
    """Return the study of explanations by domain and layer."""
    headline, holds = _headline(found, shares, concept)
    metrics = {
        name: {
            layer: {**each.metrics, "kept": {space: vars(share) for space, share in shares[name][layer].items()}}
            for layer, each in domain.items()
        }
        for name, domain in found.items()
    }
    sections = [
        numbers_section(found, shares),
        *(layers_section(name, domain) for name, domain in found.items()),
        *decisions,
        *closing_sections({f"{name} {layer}": each for name, of in found.items() for layer, each in of.items()}),
    ]
    return Study("shift", "A network on foreign images", _CLAIM, headline, holds, metrics, sections)


def _at_home(foreign: Explainer, home: Any, held_out: Any) -> Explainer:
    """Return an Explainer of the network's own domain with the settings of the foreign one."""
    images = as_image_set(home, size=foreign.train.size)
    if held_out is None:
        train, test = images.split(foreign.settings.held_out_fraction, foreign.seed)
    else:
        train, test = images, as_image_set(held_out, size=images.size)
    return foreign.replace(train=train, held_out=test, settings=replace(foreign.settings, factor_sizes=None))


def _joint(domains: Mapping[str, Explainer]) -> tuple[Autoencoder, AutoencoderSettings | None]:
    """Train one autoencoder on both domains; return it and its training settings."""
    parts = [[each.train for each in domains.values()], [each.held_out for each in domains.values()]]
    if any(isinstance(part.pixels, Generated) for of in parts for part in of):
        raise DataError(
            "Generated images cannot share a trained autoencoder with others",
            expected="stored images, or no `home`",
            hint="Or pass an `autoencoder` for both.",
        )
    train, test = (
        ImageSet(concatenate_images(chain.from_iterable(part.uint8_batches() for part in of)), groups=_groups(of))
        for of in parts
    )
    first = next(iter(domains.values()))
    trained = train_autoencoder(
        train, held_out=test, settings=first.settings.autoencoder, seed=first.seed, cache=first.cache
    )
    if not trained.result.complete:
        raise KeyboardInterrupt  # as in `explain_layers`
    return trained.autoencoder, training_settings(trained)


def _groups(parts: Sequence[ImageSet]) -> Tensor:
    """Return the groups of several sets, renumbered without overlap."""
    found, start = [], 0
    for part in parts:
        own = torch.arange(len(part)) if part.groups is None else part.groups.unique(return_inverse=True)[1]
        found.append(own + start)
        start += int(own.max()) + 1
    return torch.cat(found)


@torch.no_grad()
def kept(explanation: Explanation, seed: int = 0) -> dict[str, Estimate]:
    """Measure how much nearer samples are to their own image than to others: 0 for not at all, 1 for the image itself.

    1 − E‖t⁻¹(v|Φ(x)) − E(x)‖² / E‖t⁻¹(v|Φ(x)) − E(x')‖² over held-out images x and others x'. It is negative if samples
    are overconfident. With a perfect t it is one minus eq. 19; unlike that it is measured against the images.

    Args:
        explanation: its autoencoder has an encoder, or made the images.
        seed: seed of the draws.

    Returns:
        the share in the code (`appearance`), and in each concept's factor of e.

    Example:
        >>> from invkit.studies.shift import kept
        >>> list(kept(explanation))
        ['appearance', 'digit', 'foreground', 'background']
    """
    data, t, e = explanation.held_out.data, explanation.t, explanation.e
    generator = generator_for(seed, "kept")
    codes = encode_all(explanation.autoencoder, data).mean
    v = torch.randn(len(data), _EACH, t.dim, generator=generator)
    samples = t.inverse_given(v, t.condition(explanation.held_out.z, generator))
    groups = torch.arange(len(data)) if data.groups is None else data.groups
    other = other_rows(len(data), groups, seed)
    spaces = {"appearance": (samples, codes)}
    if e is not None:
        of_samples, of_codes = e(samples.flatten(0, 1)).value.unflatten(0, samples.shape[:2]), e(codes).value
        spaces |= {name: (of_samples[..., e.slices[name]], of_codes[:, e.slices[name]]) for name in e.concepts}
    return {name: _nearer(drawn, own, own[other], groups) for name, (drawn, own) in spaces.items()}


def _nearer(samples: Tensor, own: Tensor, other: Tensor, groups: Tensor) -> Estimate:
    units = torch.stack([(samples - goal[:, None]).square().sum(-1).mean(1) for goal in (own, other)], 1).double()
    return jackknife(lambda m: 1 - m[..., 0] / m[..., 1], units, len(units), groups)


def _headline(
    found: Mapping[str, Domain], shares: Mapping[str, Kept], concept: str
) -> tuple[dict[str, Estimate], bool | None]:
    """Return the headline, and whether samples of the last layer keep appearance and class of the foreign images."""
    headline = {f"invariance of the last layer, {name}": _last(domain).invariance() for name, domain in found.items()}
    decisive = []
    for name, of in shares.items():
        last = list(of.values())[-1]
        wanted = ["appearance", *([concept] if concept in last else [])]
        headline |= {f"{what} kept by samples of the last layer, {name}": last[what] for what in wanted}
        decisive += [last[what] for what in wanted] if name == "foreign" else []
    return headline, verdict(*(shows(share) for share in decisive))


def _last(domain: Domain) -> Explanation:
    return list(domain.values())[-1]

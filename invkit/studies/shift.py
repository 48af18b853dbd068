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
_CLASSES = "class"  # what a folder's sub-folders are


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
    """Explain a network on images of another domain than it was trained on, and on its own beside it (paper, sec. B.6).

    Images of both domains go through one autoencoder that is trained on both, as in the paper, so that shares of the
    code's variance can be compared. The verdict is on the last layer and on the foreign images: samples must be nearer
    to the image that they are samples for than to others, and where there are classes also in their factor of e.

    Args:
        explainer: of the foreign domain: an :class:`invkit.Explainer`, its folder, or images to make one of.
        model: as in :func:`invkit.profile`.
        layers: addresses, modules or globs, from early to late.
        data: images of the foreign domain.
        home: images of the network's own domain; an ImageSet to have concepts. None for none.
        home_held_out: those of them to judge by, best ones that the network was not trained on.
        concept: name of the foreign images' classes, where they have any; another name than `class` must be there.
        preprocess: from images in [0, 1] to the model's input.

    Raises:
        DataError: images that a decoder makes beside a home, which cannot be encoded together; held-out images of one
            group.
        InvkitError: as :func:`invkit.profile`.
    """
    interpretee = as_interpretee(model, preprocess)
    addresses = find_layers(interpretee, layers)
    foreign = as_explainer(explainer)
    foreign.check([(interpretee, addresses)])
    if concept != _CLASSES:
        class_concept(foreign.train, concept)
    domains = {"foreign": foreign}
    if home is not None:
        domains["home"] = _at_home(foreign, home, home_held_out)
    for domain in domains.values():
        other_rows(len(domain.held_out), domain.held_out.groups, seed=0)  # raises before any training
    if home is not None and foreign.autoencoder_is_trained_here:
        joint, how = _joint(domains)
        domains = {name: each.replace(autoencoder=joint, trained_by=how) for name, each in domains.items()}
    found: dict[str, Domain] = {}
    kept_shares: dict[str, Kept] = {}
    for name, domain in domains.items():
        found[name] = explain_layers(domain, interpretee, addresses, f"{name},")
        kept_shares[name] = {layer: kept(each, domain.seed) for layer, each in found[name].items()}
    headline, holds = _judged(found, kept_shares, concept)
    metrics = {
        name: {layer: {**each.metrics, "kept": {n: vars(s) for n, s in kept_shares[name][layer].items()}}
               for layer, each in domain.items()}
        for name, domain in found.items()
    }  # fmt: skip
    sections = [
        numbers_section(found, kept_shares),
        *(layers_section(name, domain) for name, domain in found.items()),
        *decisions_sections(interpretee, foreign.held_out, concept),
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
    """Train one autoencoder on both domains; return it, and the settings of its training."""
    parts = [[each.train for each in domains.values()], [each.held_out for each in domains.values()]]
    if any(isinstance(part.pixels, Generated) for of in parts for part in of):
        raise DataError(
            "Images that a decoder makes share no autoencoder with others",
            expected="stored images, or no `home`",
            hint="Or pass an `autoencoder` of both.",
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
    """Number the groups of several sets without overlap."""
    found, start = [], 0
    for part in parts:
        own = torch.arange(len(part)) if part.groups is None else part.groups.unique(return_inverse=True)[1]
        found.append(own + start)
        start += int(own.max()) + 1
    return torch.cat(found)


@torch.no_grad()
def kept(explanation: Explanation, seed: int = 0) -> dict[str, Estimate]:
    """Return how much nearer samples are to their own image than to others: 0 for not at all, 1 for the image itself.

    1 − E‖t⁻¹(v|Φ(x)) − E(x)‖² / E‖t⁻¹(v|Φ(x)) − E(x')‖² over held-out images x and others x', in the code
    (`appearance`) and in each concept's factor of e. It is below 0 where samples are surer than right. With a perfect t
    it is one minus eq. 19; unlike that it is judged by the images themselves.

    Args:
        explanation: of an autoencoder with an encoder, or of images that its decoder made.
        seed: of the draws.
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


def _judged(
    found: Mapping[str, Domain], shares: Mapping[str, Kept], concept: str
) -> tuple[dict[str, Estimate], bool | None]:
    """Return the headline, and whether samples of the last layer keep the foreign images' appearance and class."""
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

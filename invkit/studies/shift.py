"""Domain shift (paper, sec. B.6, fig. S10): a network explained on images of another domain than its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from invkit.autoencoders import train_autoencoder
from invkit.core import Autoencoder, Estimate, Interpretee
from invkit.data import Generated, ImageSet, as_image_set, concatenate_images, encode_all
from invkit.errors import DataError
from invkit.evaluation.consistency import other_rows
from invkit.evaluation.estimate import jackknife
from invkit.explainer.preparation import read_held_out
from invkit.explanation import Explanation
from invkit.explanation.page import closing_sections
from invkit.flows import Embedder
from invkit.interpretees import as_interpretee
from invkit.settings import Settings
from invkit.studies.preparing import (
    Keywords,
    check,
    checked_layers,
    class_concept,
    explain_layers,
    lay,
    read_given,
    split,
)
from invkit.studies.shift_page import Domain, Kept, decisions_sections, layers_section, numbers_section
from invkit.studies.study import Study, shows, verdict
from invkit.utils.random import generator_for

__all__ = ["kept", "shift"]

_CLAIM = (
    "Representations of images of another domain than the network was trained on can still be shown, the deep ones "
    "too: samples keep the appearance of the image, and to some degree its class, even given the last layer (sec. B.6)."
)
_EACH = 8  # samples of an image
_CLASSES = "class"  # what a folder's sub-folders are


def shift(
    model: str | nn.Module | Interpretee,
    layers: str | nn.Module | Sequence[str | nn.Module],
    data: Any,
    *,
    home: Any = None,
    home_held_out: Any = None,
    concept: str = _CLASSES,
    preprocess: Callable[[Tensor], Tensor] | None = None,
    embedder: Embedder | None = None,
    **keywords: Unpack[Keywords],
) -> Study:
    """Explain a network on images of another domain than it was trained on, and on its own beside it (paper, sec. B.6).

    Images of both domains go through one autoencoder that is trained on both, as in the paper, so that shares of the
    code's variance can be compared. The verdict is on the last layer and on the foreign images: samples must be nearer
    to the image that they are samples for than to others, and where there are classes also in their factor of e.

    Args:
        model: as in :func:`invkit.profile`.
        layers: addresses, modules or globs, from early to late.
        data: images of the foreign domain.
        home: images of the network's own domain; an ImageSet to have concepts. None for none.
        home_held_out: those of them to judge by, best ones that the network was not trained on.
        concept: name of the foreign images' classes, where they have any; another name than `class` must be there.
        preprocess: from images in [0, 1] to the model's input.
        embedder: H, for all layers.
        keywords: all others as in :func:`invkit.profile`, of the foreign domain.

    Raises:
        DataError: images that a decoder makes beside a home, which cannot be encoded together; held-out images of one
            group.
        InvkitError: as :func:`invkit.profile`.
    """
    interpretee = as_interpretee(model, preprocess)
    foreign, keywords = read_given(data, keywords)
    addresses = checked_layers(interpretee, layers, foreign)
    if concept != _CLASSES:
        class_concept(foreign, concept)
    settings = Settings.of(keywords.get("settings"), foreign)
    keywords = {**keywords, "settings": settings}
    sets = {"foreign": split(foreign, keywords)}
    if home is not None:
        own = as_image_set(home, size=foreign.size)
        sets["home"] = split(own, {**keywords, "held_out": read_held_out(home_held_out, own)})
    given: dict[str, Keywords] = {
        name: {**keywords, "held_out": test, **({} if name == "foreign" else {"factor_sizes": None})}
        for name, (_, test) in sets.items()
    }
    for name, (train, test) in sets.items():  # told before any training of either
        check(train, given[name])
        other_rows(len(test), test.groups, seed=0)
    if home is not None and keywords.get("autoencoder") is None:
        joint = _joint(sets, settings, keywords)
        given = {name: {**own, "autoencoder": joint} for name, own in given.items()}
    found: dict[str, Domain] = {}
    kept_shares: dict[str, Kept] = {}
    for name, (train, _) in sets.items():
        ground = lay(train, given[name], [(interpretee, addresses)], embedder)
        found[name] = explain_layers(ground, interpretee, addresses, embedder, f"{name},")
        kept_shares[name] = {layer: kept(each, ground.seed) for layer, each in found[name].items()}
    headline, holds = _judged(found, kept_shares, concept)
    metrics = {
        name: {layer: {**each.metrics, "kept": {n: vars(s) for n, s in kept_shares[name][layer].items()}}
               for layer, each in domain.items()}
        for name, domain in found.items()
    }  # fmt: skip
    sections = [
        numbers_section(found, kept_shares),
        *(layers_section(name, domain) for name, domain in found.items()),
        *decisions_sections(interpretee, sets["foreign"][1], concept),
        *closing_sections({f"{name} {layer}": each for name, of in found.items() for layer, each in of.items()}),
    ]
    return Study("shift", "A network on foreign images", _CLAIM, headline, holds, metrics, sections)


def _joint(sets: Mapping[str, tuple[ImageSet, ImageSet]], settings: Settings, keywords: Keywords) -> Autoencoder:
    """Train one autoencoder on both domains."""
    if any(isinstance(part.pixels, Generated) for parts in sets.values() for part in parts):
        raise DataError(
            "Images that a decoder makes share no autoencoder with others",
            expected="stored images, or no `home`",
            hint="Or pass an `autoencoder` of both.",
        )
    train, test = (
        ImageSet(
            concatenate_images(part for parts in sets.values() for part in parts[k].uint8_batches()),
            groups=_groups([parts[k] for parts in sets.values()]),
        )
        for k in (0, 1)
    )
    trained = train_autoencoder(
        train,
        held_out=test,
        settings=settings.autoencoder,
        seed=keywords.get("seed", 0),
        cache=keywords.get("cache"),
    )
    if not trained.result.complete:
        raise KeyboardInterrupt  # as in `lay`
    return trained.autoencoder


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

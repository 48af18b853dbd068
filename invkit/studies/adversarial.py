"""Adversarial attacks (paper, sec. 4.3, fig. 5): at which layer does an attack become visible?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from invkit.core import Estimate, Interpretee
from invkit.data import decode_all
from invkit.errors import SettingsError
from invkit.evaluation import Judge
from invkit.evaluation.estimate import jackknife
from invkit.explainer import Explainer, as_explainer, find_layers
from invkit.explanation import Explanation
from invkit.explanation.sections import closing_sections
from invkit.interpretees import as_interpretee
from invkit.studies.attacking.attacks import Attack
from invkit.studies.attacking.changes import Changes, changes, share
from invkit.studies.attacking.decisions import Decisions, decisions_of
from invkit.studies.attacking.page import BEFORE, pictures_sections, where_section
from invkit.studies.attacking.trial import Trial, logits_of, try_attack
from invkit.studies.judging import trained_judge
from invkit.studies.study import Study, shows, verdict
from invkit.studies.subjects import check_several, explain_layers

__all__ = ["adversarial"]

_CLAIM = (
    "An attack that changes the decision changes the samples given the last layer more than those given the first, and "
    "more than noise of the same size does (sec. 4.3)."
)
_FEWEST = 8  # changed decisions, for a verdict
_JUDGED = 4  # samples per image that the judge reads


def adversarial(
    explainer: Explainer | Any,
    model: str | nn.Module | Interpretee,
    layers: str | nn.Module | Sequence[str | nn.Module],
    *,
    attack: Attack | Literal["fgsm", "pgd"] = "fgsm",
    concept: str | None = "class",
    images: int = 400,
    judge: bool = False,
    preprocess: Callable[[Tensor], Tensor] | None = None,
) -> Study:
    """Attack a network's decisions and measure at which layers the samples change (paper, sec. 4.3).

    Held-out images that the network classifies correctly are attacked, and changed by random noise of the same size.
    For the images whose decision changes, the study measures how far each layer's representation and its samples
    D(t⁻¹(v | z)), at the same v, move, relative to how far they move to another image.

    Args:
        explainer: an :class:`invkit.Explainer`, its folder, or images to make one of with default settings.
        model: the network, as in :func:`invkit.profile`; its output are logits (B, C).
        layers: at least two addresses, modules or globs, from early to late.
        attack: an :class:`Attack`, or the name of one with default settings.
        concept: the classes that the network predicts, matched by name if it has names (`categories`), else by number;
            None takes its own decisions as correct.
        images: largest number of images to attack.
        judge: train an independent classifier of the concepts, to read the samples of attacked images.
        preprocess: from images in [0, 1] to the model's input.

    Raises:
        SettingsError: fewer than two layers, no such target, or a judge without a concept.
        DataError: no such classes, an output that is not scores of classes, or too few images that the network
            classifies correctly, or all of one group.
        LayerError: an unknown layer, or a model without gradients.
        PluginError: captum is not installed.
        InvkitError: as :func:`invkit.profile`.

    Example:
        >>> study = invkit.studies.adversarial(explainer, network, ["0", "2"], concept=None, images=20)
        >>> study.name, list(study.metrics["layers"])
        ('adversarial', ['0', '2'])
    """
    method = attack if isinstance(attack, Attack) else Attack(attack)
    if judge and concept is None:
        raise SettingsError("There is no concept for a judge to read", expected="`concept`", got="judge=True")
    interpretee = as_interpretee(model, preprocess)
    addresses = find_layers(interpretee, layers)
    check_several(addresses)
    explainer = as_explainer(explainer)
    explainer.check([(interpretee, addresses)])
    scores = logits_of(interpretee)(explainer.train.images(slice(2)))  # raises if the model gives no gradients
    decisions = decisions_of(interpretee, scores, explainer.train, concept)
    trial = try_attack(interpretee, explainer.held_out, decisions, method, images, explainer.seed)
    explanations = explain_layers(explainer, interpretee, addresses)
    flipped = trial.take(trial.flipped)
    tried = flipped if len(flipped) >= _FEWEST and len(flipped.groups.unique()) > 1 else trial
    found = {layer: changes(each, tried, explainer.seed) for layer, each in explanations.items()}
    read = _read_all(trained_judge(explainer), decisions, tried, explanations, found) if judge else {}
    sections = [
        where_section(found, read, _about(trial, tried, method, decisions)),
        *pictures_sections(tried, explanations, decisions),
        *closing_sections(explanations),
    ]
    headline, holds = _judged(trial, tried, found, read)
    metrics = _metrics(trial, tried, method, found, read)
    return Study("adversarial", "Where an attack becomes visible", _CLAIM, headline, holds, metrics, sections)


def _read_all(
    judge: Judge,
    decisions: Decisions,
    trial: Trial,
    explanations: Mapping[str, Explanation],
    found: Mapping[str, Changes],
) -> dict[str, dict[str, Estimate]]:
    """Return the judge's readings of the clean images, and of samples of the attacked images by layer."""
    read = {BEFORE: _read(judge, decisions, trial, trial.clean[:, None])}
    for layer, each in explanations.items():
        codes = found[layer].codes["attack"][:, :_JUDGED]
        drawn = decode_all(each.autoencoder, codes.flatten(0, 1)).unflatten(0, codes.shape[:2])
        read[layer] = _read(judge, decisions, trial, drawn)
    return read


def _read(judge: Judge, decisions: Decisions, trial: Trial, drawn: Tensor) -> dict[str, Estimate]:
    """Return the shares of drawn images (B, n, 3, S, S) that the judge reads as the attacked and as the true class."""
    assert decisions.concept is not None
    read = judge.read(drawn.flatten(0, 1))[decisions.concept]
    seen = decisions.outputs[read].unflatten(0, drawn.shape[:2])
    known = {"the attacked decision": trial.decided, "the true class": trial.truth}
    return {name: trial.mean((seen == value[:, None]).double().mean(1)) for name, value in known.items()}


def _judged(
    trial: Trial, tried: Trial, found: Mapping[str, Changes], read: Mapping[str, Mapping[str, Estimate]]
) -> tuple[dict[str, Estimate], bool | None]:
    """Return the headline and the verdict."""
    first, last = next(iter(found)), list(found)[-1]
    rise, above = _rises(found[first], found[last])
    headline = {
        "share of correct decisions that the attack changes": trial.mean(trial.flipped.double()),
        "share of correct decisions that noise of that size changes": trial.mean(trial.flipped_by_noise.double()),
        f"change of samples at '{first}', attack": found[first].estimate("samples", "attack"),
        f"change of samples at '{last}', attack": found[last].estimate("samples", "attack"),
        f"change of samples at '{last}', noise": found[last].estimate("samples", "noise"),
        "last layer − first": rise,
        "attack − noise at the last layer": above,
    }
    if read:
        headline |= {f"samples at '{last}' read as {name}": share for name, share in read[last].items()}
    return headline, verdict(shows(rise), shows(above)) if tried is not trial else None


def _metrics(
    trial: Trial,
    tried: Trial,
    attack: Attack,
    found: Mapping[str, Changes],
    read: Mapping[str, Mapping[str, Estimate]],
) -> dict[str, Any]:
    """Return all metrics as JSON-able values."""
    about = {
        **vars(attack),
        "accuracy": trial.accuracy,
        "attacked": len(trial),
        "changed": int(trial.flipped.sum()),
        "behind the layers' metrics": len(tried),
    }
    return {
        "attack": about,
        "layers": {layer: each.to_dict() for layer, each in found.items()},
        "read": {layer: {n: vars(s) for n, s in shares.items()} for layer, shares in read.items()},
    }


def _about(trial: Trial, tried: Trial, attack: Attack, decisions: Decisions) -> str:
    """Return the page's first paragraph: accuracy, attack, and the images behind the metrics."""
    right = (
        "The network's own decisions are taken as correct."
        if decisions.concept is None
        else f"The network classifies {trial.accuracy:.1%} of the held-out images correctly."
    )
    behind = (
        "all of them, since the attack changed too few decisions for a verdict"
        if tried is trial
        else f"the {len(tried)} images whose decision the attack changed"
    )
    return (
        f"{right} {len(trial)} of them were attacked ({attack.name.upper()}, no value changed by more than "
        f"{attack.epsilon}). All metrics below are of {behind}."
    )


def _rises(first: Changes, last: Changes) -> tuple[Estimate, Estimate]:
    """Return how much more samples change at the last layer than at the first, and than by noise at the last."""
    units = torch.cat([first.distances["samples"], last.distances["samples"]], 1)
    return (
        jackknife(lambda m: share(m[..., 3], m[..., 5]) - share(m[..., 0], m[..., 2]), units, len(units), first.groups),
        jackknife(lambda m: share(m[..., 3] - m[..., 4], m[..., 5]), units, len(units), first.groups),
    )

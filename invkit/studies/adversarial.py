"""Adversarial attacks (paper, sec. 4.3, fig. 5): where along the layers does an attack become visible?"""

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
_FEWEST = 8  # images whose decision changed, for a verdict
_JUDGED = 4  # samples of an image that the judge reads


def adversarial(
    explainer: Explainer | Any,
    model: str | nn.Module | Interpretee,
    layers: str | nn.Module | Sequence[str | nn.Module],
    *,
    concept: str | None = "class",
    attack: Literal["fgsm", "pgd"] = "fgsm",
    epsilon: float = 0.02,
    steps: int | None = None,
    target: int | str | None = None,
    images: int = 400,
    judge: bool = False,
    preprocess: Callable[[Tensor], Tensor] | None = None,
) -> Study:
    """Attack a network's decisions and see at which layers the samples change (paper, sec. 4.3).

    Held-out images that the network gets right are attacked, and changed by random noise of the same size. For those
    whose decision the attack changes, each layer tells how far its representation and its samples D(t⁻¹(v | z)), at the
    same v, move: as a share of how far they move to another image.

    Args:
        explainer: an :class:`invkit.Explainer`, its folder, or images to make one of with default settings.
        model: whose decisions are attacked, as in :func:`invkit.profile`; its output are logits (B, C).
        layers: two or more addresses, modules or globs, from early to late.
        concept: the classes that the network decides between, by their names where it knows them (its `categories`),
            else in its order; None takes its own decisions for right.
        attack: `fgsm` or `pgd`.
        epsilon: largest change of a value in [0, 1]; the authors' is 0.02.
        steps: of `pgd`; None for 10.
        target: class to be decided for, by number or name; None for any but the right one.
        images: largest number to attack.
        judge: train an independent reader of the concepts, to say what samples of attacked images show.
        preprocess: from images in [0, 1] to the model's input.

    Raises:
        SettingsError: fewer than two layers, no such target, steps of `fgsm`, or a judge without a concept.
        DataError: no such classes, no scores of classes, or too few images that the network gets right, or all of one
            group.
        LayerError: also where the model gives no gradients to its images.
        PluginError: captum is missing.
        InvkitError: as :func:`invkit.profile`.
    """
    if steps is not None and attack == "fgsm":
        raise SettingsError("`fgsm` takes one step alone", expected="attack='pgd', or no `steps`", got=f"steps={steps}")
    default = 1 if attack == "fgsm" else Attack.steps
    method = Attack(attack, epsilon, default if steps is None else steps)
    if judge and concept is None:
        raise SettingsError("There is no concept for a judge to read", expected="`concept`", got="judge=True")
    interpretee = as_interpretee(model, preprocess)
    addresses = find_layers(interpretee, layers)
    check_several(addresses)
    explainer = as_explainer(explainer)
    explainer.check([(interpretee, addresses)])
    scores = logits_of(interpretee)(explainer.train.images(slice(2)))  # raises if the model gives no gradients
    decisions = decisions_of(interpretee, scores, explainer.train, concept)
    goal = None if target is None else decisions.number(target)
    trial = try_attack(interpretee, explainer.held_out, decisions, method, goal, images, explainer.seed)
    explanations = explain_layers(explainer, interpretee, addresses)
    flipped = trial.take(trial.flipped)
    tried = flipped if len(flipped) >= _FEWEST and len(flipped.groups.unique()) > 1 else trial
    found = {layer: changes(each, tried, explainer.seed) for layer, each in explanations.items()}
    read: dict[str, dict[str, Estimate]] = {}
    if judge:
        reader = trained_judge(explainer)
        read[BEFORE] = _read(reader, decisions, tried, tried.clean[:, None])
        for layer, each in explanations.items():
            codes = found[layer].codes["attack"][:, :_JUDGED]
            drawn = decode_all(each.autoencoder, codes.flatten(0, 1)).unflatten(0, codes.shape[:2])
            read[layer] = _read(reader, decisions, tried, drawn)
    return _told(trial, tried, explanations, found, read, method, decisions)


def _read(judge: Judge, decisions: Decisions, trial: Trial, drawn: Tensor) -> dict[str, Estimate]:
    """Return which shares of images drawn for each of the trial's, (B, n, 3, S, S), are read as what."""
    assert decisions.concept is not None
    read = judge.read(drawn.flatten(0, 1))[decisions.concept]
    seen = decisions.outputs[read].unflatten(0, drawn.shape[:2])
    known = {"the attacked decision": trial.decided, "the true class": trial.truth}
    return {name: trial.mean((seen == value[:, None]).double().mean(1)) for name, value in known.items()}


def _told(
    trial: Trial,
    tried: Trial,
    explanations: Mapping[str, Explanation],
    found: Mapping[str, Changes],
    read: Mapping[str, Mapping[str, Estimate]],
    method: Attack,
    decisions: Decisions,
) -> Study:
    """Put the study together."""
    first, last = next(iter(found)), list(found)[-1]
    enough = tried is not trial
    rise, above = _rises(found[first], found[last])
    headline = {
        "share of right decisions that the attack changes": trial.mean(trial.flipped.double()),
        "the same for noise of that size": trial.mean(trial.flipped_by_noise.double()),
        f"change of samples at '{first}', attack": found[first].estimate("samples", "attack"),
        f"change of samples at '{last}', attack": found[last].estimate("samples", "attack"),
        f"change of samples at '{last}', noise": found[last].estimate("samples", "noise"),
        "last layer − first": rise,
        "attack − noise at the last layer": above,
    }
    if read:
        headline |= {f"samples at '{last}' read as {name}": share for name, share in read[last].items()}
    holds = verdict(shows(rise), shows(above)) if enough else None
    metrics = {
        "attack": {
            **vars(method),
            "accuracy": trial.accuracy,
            "attacked": len(trial),
            "changed": int(trial.flipped.sum()),
            "behind the layers' metrics": len(tried),
        },
        "layers": {layer: each.to_dict() for layer, each in found.items()},
        "read": {layer: {n: vars(s) for n, s in shares.items()} for layer, shares in read.items()},
    }
    right = (
        "The network's own decisions are taken for right."
        if decisions.concept is None
        else f"The network decides rightly on {trial.accuracy:.1%} of the held-out images."
    )
    about = (
        f"{right} {len(trial)} of them were "
        f"attacked ({method.name.upper()}, no value changed by more than {method.epsilon}). All that follows is of "
        + (f"the {len(tried)} images whose decision the attack changed." if enough else
           "all of them, since the attack changed too few decisions for a verdict.")
    )  # fmt: skip
    sections = [
        where_section(found, read, about),
        *pictures_sections(tried, explanations, decisions),
        *closing_sections(explanations),
    ]
    return Study("adversarial", "Where an attack becomes visible", _CLAIM, headline, holds, metrics, sections)


def _rises(first: Changes, last: Changes) -> tuple[Estimate, Estimate]:
    """Return by how much samples change more at the last layer than at the first, and more than by noise there."""
    units = torch.cat([first.distances["samples"], last.distances["samples"]], 1)
    return (
        jackknife(lambda m: share(m[..., 3], m[..., 5]) - share(m[..., 0], m[..., 2]), units, len(units), first.groups),
        jackknife(lambda m: share(m[..., 3] - m[..., 4], m[..., 5]), units, len(units), first.groups),
    )

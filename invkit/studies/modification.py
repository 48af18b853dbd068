"""Replacing a concept of an image by that of another image (paper, sec. 4.4 and B.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from invkit.core import Estimate
from invkit.data import Generated, ImageSet, decode_all, evenly_spaced
from invkit.errors import SettingsError
from invkit.evaluation import Features, Judge, frechet_distance
from invkit.explainer import Explainer, as_explainer
from invkit.explanation.fidelity import Fidelity, reconstruction_r2
from invkit.explanation.sections import protocol_section, trust_section
from invkit.studies.editing.arithmetic import AttributeArithmetic
from invkit.studies.editing.edits import Edited, Editor, Fit, judged_edits, partners
from invkit.studies.editing.page import how_section, pictures_section, rates_section
from invkit.studies.editing.shares import ENOUGH, judged_shares, shares_text, trusted
from invkit.studies.editing.star_gan import redrawn, trained_star_gan
from invkit.studies.judging import judge_features, skill, trained_judge
from invkit.studies.study import Study, verdict

__all__ = ["modification"]

OURS, ARITHMETIC, STAR_GAN = "invkit", "attribute arithmetic", "StarGAN"

_MOST, _READ = 5000, 2000  # held-out images for distances, and for the judge's skill
_CLAIM = (
    f"A swapped concept changes in at least {ENOUGH:.0%} of the images, as an independent judge reads it, and each "
    f"other concept stays in at least {ENOUGH:.0%} (sec. 4.4)."
)


def modification(
    explainer: Explainer | Any,
    *,
    judge: Judge | None = None,
    features: Features | None = None,
    fit: Fit | None = None,
    edits: int = 600,
    star_gan: bool = False,
) -> Study:
    """Replace each concept of held-out images by that of others, and evaluate the result by independent networks.

    An edit is D(e⁻¹(·)) with e_i of the donor. The baseline is attribute arithmetic in z̄, which knows both labels: it
    moves a code by the difference of the mean codes of the donor's value and of its own.

    Args:
        explainer: an :class:`invkit.Explainer`, its folder, or images for one with default settings.
        judge: reads all concepts from images. None trains one on images and on reconstructions of others.
        features: for Fréchet distances. None trains a small network that reads the concepts from images alone.
        fit: returns which pairs of image and donor may be used, given the held-out set and rows of both. None for all
            whose values of the swapped concept differ.
        edits: number of images for each concept.
        star_gan: train a small StarGAN (Choi et al., 2018) on the first concept of classes as a further baseline.

    Returns:
        the study. Its headline holds for each concept the share of images in which it changed and the mean share in
        which the others stayed, of invkit and of the baselines. The claim holds if each share, of the swapped concept
        and of each other, is above 90 % by two standard errors, and fails if one is as far below. Concepts that the
        judge hardly reads do not count.

    Raises:
        SettingsError: no concepts, a judge of others, generated images, or an autoencoder without an encoder.
        DataError: no pair of held-out images differs in a concept.
        InvkitError: as :func:`invkit.profile`.

    Example:
        >>> judge = invkit.evaluation.Judge.of(explainer.train)  # not trained, for documentation only
        >>> features = invkit.evaluation.Features(network, "4")
        >>> study = invkit.studies.modification(explainer, judge=judge, features=features, edits=20)
        >>> list(study.metrics["Fréchet distance"])
        ['invkit', 'attribute arithmetic', 'unedited']
    """
    explainer = as_explainer(explainer)
    _check(explainer.train, judge, star_gan)
    if isinstance(explainer.train.pixels, Generated) or not explainer.has_encoder:
        raise SettingsError("Only images that can be encoded can be edited", expected="an autoencoder with an encoder")
    _check_partners(explainer.held_out, edits, fit, explainer.seed)
    explainer.fit(strict=True)
    judge = judge or trained_judge(explainer)
    features = features or judge_features(trained_judge(explainer, redrawn=False))
    ways = _ways(explainer, star_gan)
    found = {
        way: judged_edits(explainer.held_out, judge, editor, edits, fit=fit, seed=explainer.seed)
        for way, editor in ways.items()
    }
    distances = _distances(explainer, features, found)
    return _study_of(explainer, ways, found, distances, features, fit, *_skill(explainer, judge))


def _check(images: ImageSet, judge: Judge | None, star_gan: bool) -> None:
    if not images.concepts:
        raise SettingsError(
            "There are no concepts to swap", expected="labels", got="images alone", hint="Pass concepts={name: labels}."
        )
    known = {name: (concept.kind, concept.targets().shape[1]) for name, concept in images.concepts.items()}
    if judge is not None and dict(judge.concepts) != known:
        raise SettingsError("The judge reads other concepts than the images have", expected=known, got=judge.concepts)
    if star_gan and not any(concept.kind == "class" for concept in images.concepts.values()):
        raise SettingsError(
            "StarGAN needs a concept of classes",
            expected="at least one concept of classes",
            got=", ".join(f"{name}: {concept.kind}" for name, concept in images.concepts.items()),
        )


def _check_partners(held_out: ImageSet, edits: int, fit: Fit | None, seed: int) -> None:
    for name in held_out.concepts:
        partners(held_out, name, edits, fit=fit, seed=seed)


def _skill(explainer: Explainer, judge: Judge) -> tuple[dict[str, float], Fidelity]:
    """Return how well the judge reads reconstructions, by concept, and how far both can be trusted."""
    rows = evenly_spaced(len(explainer.held_out), _READ)
    data, made = explainer.held_out.take(rows), decode_all(explainer.autoencoder, explainer.held_out_codes.mean[rows])
    reads = skill(judge, made, data.concepts)
    return reads, trusted(reconstruction_r2(data.images(), made, data.groups), reads)


def _ways(explainer: Explainer, star_gan: bool) -> dict[str, Editor]:
    """Return the editors by name: invkit's and the baselines."""
    assert explainer.e is not None
    names, autoencoder, codes = (
        list(explainer.held_out.concepts),
        explainer.autoencoder,
        explainer.held_out_codes.mean[:],
    )
    arithmetic = AttributeArithmetic(explainer.codes.mean[:], explainer.train_copies.concepts)
    targets = {name: concept.targets() for name, concept in explainer.held_out.concepts.items()}

    def moved(rows: Tensor, donors: Tensor, concept: str) -> Tensor:
        return arithmetic.edit(codes[rows], concept, targets[concept][rows], targets[concept][donors])

    ways = {
        OURS: Editor.of_swaps(autoencoder, explainer.e, codes),
        ARITHMETIC: Editor.of_codes(names, autoencoder, codes, moved),
    }
    if star_gan:
        ways[STAR_GAN] = _star_gan_editor(explainer)
    return ways


def _star_gan_editor(explainer: Explainer) -> Editor:
    """Return the editor by StarGAN for the first concept of classes; its unedited images are the images themselves."""
    data = explainer.held_out
    concept = next(name for name, known in data.concepts.items() if known.kind == "class")
    module, classes = trained_star_gan(explainer, concept), data.concepts[concept].values
    return Editor([concept], data.images, lambda rows, donors, _: redrawn(module, data.images(rows), classes[donors]))


def _distances(
    explainer: Explainer, features: Features, found: Mapping[str, Mapping[str, Edited]]
) -> dict[str, dict[str, Estimate]]:
    """Return Fréchet distances to the held-out images, of edited and of as many unedited images."""
    data = explainer.held_out
    some = evenly_spaced(len(data), _MOST)
    real, alike = features.of(data.take(some)), some if data.groups is None else data.groups[some]

    def distance(images: Tensor, groups: Tensor | None, independent: bool = False) -> Estimate:
        return frechet_distance(real, features.of(images), (alike, groups), independent=independent)

    edited = {
        way: {name: distance(each.images, each.groups) for name, each in own.items()} for way, own in found.items()
    }
    plain = next(iter(found[OURS].values()))
    made = decode_all(explainer.autoencoder, explainer.held_out_codes.mean[plain.rows])
    originals = len(explainer.train)  # copies follow them
    others = explainer.train_copies.take(evenly_spaced(originals, len(plain.rows)))
    known = {
        "reconstructions": distance(made, plain.groups),
        "other images (of training)": distance(others.images(), others.groups, independent=True),
    }
    return {**edited, "unedited": known}


def _study_of(
    explainer: Explainer,
    ways: Mapping[str, Editor],
    found: Mapping[str, Mapping[str, Edited]],
    distances: Mapping[str, Mapping[str, Estimate]],
    features: Features,
    fit: Fit | None,
    reads: Mapping[str, float],
    trust: Fidelity,
) -> Study:
    """Return the study of these edits."""
    headline = {}
    for way, own in found.items():
        for name, each in own.items():
            headline[f"{name}: changed, {way}"] = each.rate(name)
            kept = each.kept(name)
            if kept is not None:
                headline[f"{name}: others stay, {way}"] = kept
    shares = judged_shares(found[OURS], reads)
    metrics = {
        "judged changed": {
            way: {swapped: {name: vars(each.rate(name)) for name in each.changed} for swapped, each in own.items()}
            for way, own in found.items()
        },
        "Fréchet distance": {
            way: {name: vars(distance) for name, distance in own.items()} for way, own in distances.items()
        },
        "the judge reads": dict(reads),
    }
    about = {
        "features of the Fréchet distance": f"{features.interpretee!r} {features.layer}",
        **explainer.about_autoencoder,
    }
    about |= {
        "training images": len(explainer.train_copies),
        "held-out images": len(explainer.held_out),
        "seed": explainer.seed,
    }
    about["settings"] = explainer.settings.to_dict()
    sections = [
        how_section(list(found)),
        rates_section(shares_text(shares), found, distances),
        pictures_section(explainer.held_out, ways, fit),
        trust_section({OURS: trust}),
        protocol_section(about),
    ]
    untested = [] if len(explainer.held_out.concepts) > 1 else [None]  # no other concept could change
    holds = verdict(*(passed for _, passed in shares.values()), *untested)
    return Study("modification", "Swapping a concept", _CLAIM, headline, holds, metrics, sections)

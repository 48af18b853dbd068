"""Swapping a concept of an image for another image's (paper, sec. 4.4 and B.5)."""

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
from invkit.studies.editing.shares import ENOUGH, judged_shares, spelt, trusted
from invkit.studies.editing.star_gan import redrawn, trained_star_gan
from invkit.studies.judging import judge_features, skill, trained_judge
from invkit.studies.study import Study, verdict

__all__ = ["modification"]

OURS, ARITHMETIC, STAR_GAN = "invkit", "attribute arithmetic", "StarGAN"

_MOST, _READ = 5000, 2000  # held-out images behind distances, and that tell how well the judge reads
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
    """Swap each concept of held-out images for that of others, and have independent networks judge the result.

    An edit is D(e⁻¹(·)) with e_i of the donor put in. Beside it stands attribute arithmetic in z̄, which moves a code
    from the mean of its own value to that of the donor's and is told both values.

    Args:
        explainer: an :class:`invkit.Explainer`, its folder, or images to make one of with default settings.
        judge: reads all concepts from images; None trains one on images and on reconstructions of others.
        features: of Fréchet distances; None trains a small network to read the concepts from images alone.
        fit: says which pairs of image and donor may be used, of the held-out set and rows of both; None for all whose
            classes of the swapped concept differ.
        edits: images for each concept.
        star_gan: train a small StarGAN (Choi et al., 2018) on the first concept of classes, as a further baseline.

    Returns:
        headline: for each concept the share of images in which it changed, and the mean share in which the others
        stayed, of invkit and of the baseline. The claim holds where each share, of the swapped concept and of each
        other, lies above 90 % by two standard errors, and fails where one lies as far below; a concept that the judge
        hardly reads has no say.

    Raises:
        SettingsError: no concepts, a judge of others, or an autoencoder without an encoder.
        DataError: no held-out image can get a concept of another.
        InvkitError: as :func:`invkit.profile`.
    """
    explainer = as_explainer(explainer)
    _check(explainer.train, judge, star_gan)
    if isinstance(explainer.train.pixels, Generated) or not explainer.has_encoder:
        raise SettingsError("Only images that can be encoded can be edited", expected="an autoencoder with an encoder")
    _check_partners(explainer.held_out, edits, fit, explainer.seed)
    explainer.fit(whole=True)
    judge = judge or trained_judge(explainer)
    features = features or judge_features(trained_judge(explainer, redrawn=False))
    ways = _ways(explainer, star_gan)
    found = {
        way: judged_edits(explainer.held_out, judge, editor, edits, fit=fit, seed=explainer.seed)
        for way, editor in ways.items()
    }
    distances = _distances(explainer, features, found)
    rows = evenly_spaced(len(explainer.held_out), _READ)
    data, made = explainer.held_out.take(rows), decode_all(explainer.autoencoder, explainer.held_out_codes.mean[rows])
    reads = skill(judge, made, data.concepts)
    trust = trusted(reconstruction_r2(data.images(), made, data.groups), reads)
    return _told(explainer, ways, found, distances, features, fit, reads, trust)


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
            "StarGAN is told a class to draw",
            expected="a concept of classes",
            got=", ".join(f"{name}: {concept.kind}" for name, concept in images.concepts.items()),
        )


def _check_partners(held_out: ImageSet, edits: int, fit: Fit | None, seed: int) -> None:
    for name in held_out.concepts:
        partners(held_out, name, edits, fit=fit, seed=seed)


def _ways(explainer: Explainer, star_gan: bool) -> dict[str, Editor]:
    """Return invkit's editor and the baselines, by name."""
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
    """Return the StarGAN of the first concept of classes; unedited images are the images themselves."""
    data = explainer.held_out
    concept = next(name for name, known in data.concepts.items() if known.kind == "class")
    module, classes = trained_star_gan(explainer, concept), data.concepts[concept].values
    return Editor([concept], data.images, lambda rows, donors, _: redrawn(module, data.images(rows), classes[donors]))


def _distances(
    explainer: Explainer, features: Features, found: Mapping[str, Mapping[str, Edited]]
) -> dict[str, dict[str, Estimate]]:
    """Return Fréchet distances to the held-out images: of edited ones by way and concept, and of as many unedited."""
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
    originals = len(explainer.train)  # they come first
    others = explainer.train_copies.take(evenly_spaced(originals, len(plain.rows)))
    known = {
        "reconstructions": distance(made, plain.groups),
        "other images (of training)": distance(others.images(), others.groups, independent=True),
    }
    return {**edited, "unedited": known}


def _told(
    explainer: Explainer,
    ways: Mapping[str, Editor],
    found: Mapping[str, Mapping[str, Edited]],
    distances: Mapping[str, Mapping[str, Estimate]],
    features: Features,
    fit: Fit | None,
    reads: Mapping[str, float],
    trust: Fidelity,
) -> Study:
    """Put the study together."""
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
        rates_section(spelt(shares), found, distances),
        pictures_section(explainer.held_out, ways, fit),
        trust_section({OURS: trust}),
        protocol_section(about),
    ]
    untested = [] if len(explainer.held_out.concepts) > 1 else [None]  # there is no other concept to stay
    holds = verdict(*(passed for _, passed in shares.values()), *untested)
    return Study("modification", "Swapping a concept", _CLAIM, headline, holds, metrics, sections)

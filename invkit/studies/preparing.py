"""What studies of layers start from: images, the groundwork on them, explanations of some layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from torch import nn

from invkit.autoencoders import TrainedAutoencoder, as_autoencoder
from invkit.core import Autoencoder, Interpretee
from invkit.data import Concept, ImageSet, Rows
from invkit.errors import DataError, SettingsError
from invkit.explainer import Groundwork, check_data, parts
from invkit.explainer.preparation import addresses_in, prepare, read_held_out, read_images
from invkit.explainer.recipe import explain_each
from invkit.explanation import Explanation
from invkit.flows import Embedder
from invkit.settings import Settings
from invkit.utils.progress import log

__all__ = [
    "Keywords",
    "check",
    "checked_layers",
    "class_concept",
    "expect_several",
    "explain_layers",
    "held_out_of",
    "lay",
    "read_given",
    "split",
]


class Keywords(TypedDict, total=False):
    """What a study passes on; each as in :func:`invkit.profile`."""

    concepts: Mapping[str, Any] | str | Path | None
    groups: Any
    held_out: Any
    size: int | None
    autoencoder: Autoencoder | TrainedAutoencoder | str | Path | None
    factor_sizes: Mapping[str, int] | None
    settings: Settings | str | None
    seed: int
    cache: str | Path | None


def read_given(data: Any, keywords: Keywords) -> tuple[ImageSet, Keywords]:
    """Read what a study is given, once: images, at the autoencoder's size where there is one; it; those to judge by.

    Returns:
        the images, and the keywords with the other two in place of what stood for them.

    Raises:
        TypeError: a keyword that no study has.
        DataError: also too few images.
        InvkitError: as :func:`invkit.explainer.preparation.read_images`.
    """
    unknown = sorted(keywords.keys() - Keywords.__annotations__.keys())
    if unknown:
        raise TypeError(f"Unknown argument {', '.join(unknown)}; known beside the study's own: "
                        f"{', '.join(Keywords.__annotations__)}")  # fmt: skip
    autoencoder = as_autoencoder(keywords.get("autoencoder"))
    images = read_images(
        data,
        autoencoder,
        keywords.get("settings"),
        size=keywords.get("size"),
        concepts=keywords.get("concepts"),
        groups=keywords.get("groups"),
    )
    held_out = read_held_out(keywords.get("held_out"), images)
    given: Keywords = {**keywords, "autoencoder": autoencoder, "held_out": held_out}
    check(images, {**given, "factor_sizes": None})  # a study may name the concepts of images that it makes of these
    return images, given


def check(images: ImageSet, keywords: Keywords) -> None:
    """Refuse, before any work, what no groundwork can be laid on.

    Raises:
        DataError: too few images, or held-out ones with other concepts or classes.
        SettingsError: codes of no known form, or factors that do not fit into them.
    """
    check_data(
        images,
        held_out=keywords.get("held_out"),
        autoencoder=as_autoencoder(keywords.get("autoencoder")),
        factor_sizes=keywords.get("factor_sizes"),
        settings=Settings.of(keywords.get("settings"), images),
        seed=keywords.get("seed", 0),
    )


def split(images: ImageSet, keywords: Keywords) -> tuple[ImageSet, ImageSet]:
    """Return images to train on and to judge by, as the groundwork on what was read would split them."""
    settings = Settings.of(keywords.get("settings"), images)
    return parts(images, keywords.get("held_out"), settings, keywords.get("seed", 0))


def held_out_of(images: ImageSet, keywords: Keywords) -> ImageSet:
    """Return those to judge by alone, classes under their numbers among the images to train on.

    Raises:
        DataError: they have other concepts.
    """
    held_out: ImageSet | None = keywords.get("held_out")
    if held_out is not None:
        return held_out.match_classes(images)
    settings = Settings.of(keywords.get("settings"), images)
    return images.take(images.held_out_mask(settings.held_out, keywords.get("seed", 0)).nonzero().flatten())


def class_concept(images: ImageSet, name: str) -> Concept:
    """Return a concept whose values are classes.

    Raises:
        DataError: there is none of that name, or it is a quantity.
    """
    concept = images.concepts.get(name)
    if concept is None or concept.kind != "class":
        known = [n for n, c in images.concepts.items() if c.kind == "class"]
        raise DataError(
            f"The images have no classes called '{name}'",
            expected=", ".join(known) or "labels, as a concept of classes",
            got="nothing" if concept is None else concept.kind,
            hint="Pass concepts={name: labels}, or a folder with a sub-folder for each class.",
        )
    return concept


def expect_several(addresses: Sequence[str]) -> None:
    """Refuse one layer where layers are compared.

    Raises:
        SettingsError: fewer than two.
    """
    if len(addresses) < 2:
        raise SettingsError("A curve over depth takes two layers or more", got=", ".join(addresses))


def lay(
    images: ImageSet,
    keywords: Keywords,
    subjects: Sequence[tuple[Interpretee, Sequence[str]]] = (),
    embedder: Embedder | None = None,
) -> Groundwork:
    """Try the layers, tell what the work will take, and lay the groundwork that :func:`invkit.profile` would lay.

    A verdict wants whole parts: training that is cut short, here or on this groundwork, raises KeyboardInterrupt.
    """
    return prepare(
        subjects,
        images,
        held_out=keywords.get("held_out"),
        autoencoder=as_autoencoder(keywords.get("autoencoder")),
        embedder=embedder,
        factor_sizes=keywords.get("factor_sizes"),
        settings=keywords.get("settings"),
        seed=keywords.get("seed", 0),
        cache=keywords.get("cache"),
        whole=True,
    )


def explain_layers(
    ground: Groundwork,
    interpretee: Interpretee,
    layers: Sequence[str],
    embedder: Embedder | None = None,
    name: str = "",
    z: Mapping[str, tuple[Rows, Rows]] | None = None,
) -> dict[str, Explanation]:
    """Explain layers of one model, by address; as :func:`invkit.explainer.recipe.explain_each`."""
    found = {}
    for explanation in explain_each(ground, interpretee, layers, embedder=embedder, name=name, z=z):
        found[explanation.layer] = explanation
        log(f"{name} {explanation.layer}: invariance {explanation.invariance()}".strip())
    return found


def checked_layers(
    interpretee: Interpretee, layers: str | nn.Module | Sequence[str | nn.Module], images: ImageSet
) -> list[str]:
    """Return the addresses of layers, which are tried on two images before any long work.

    Raises:
        LayerError: one of them is none, or gives nothing usable.
    """
    addresses = addresses_in(interpretee, [layers] if isinstance(layers, (str, nn.Module)) else list(layers))
    interpretee.represent(images.images(slice(2)), addresses)
    return addresses

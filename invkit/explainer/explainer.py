"""The `Explainer`: what all explanations on the same images share."""

from __future__ import annotations

import copy
import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from invkit.autoencoders import (
    AutoencoderSettings,
    TrainedAutoencoder,
    as_autoencoder,
    describe,
    fit_autoencoder,
    key_of,
    training_settings,
)
from invkit.autoencoders.sheet import examples, sheet
from invkit.core import Autoencoder, Interpretee
from invkit.data import (
    Codes,
    ImageSet,
    Rows,
    as_image_set,
    augmented,
    check_latents_fit,
    decode_all,
    evenly_spaced,
    latent_codes,
    represent_all,
)
from invkit.errors import ArtefactError
from invkit.evaluation import psnr
from invkit.explainer.invariance import model_key, prior_nll, train_t, train_together
from invkit.explainer.results import explanation_of
from invkit.explainer.saving import load_explainer, save_explainer
from invkit.explainer.semantic import train_e
from invkit.explainer.validation import (
    check_factors,
    check_images,
    check_layers,
    default_images,
    find_layers,
    known_autoencoder,
    one_layer,
    read_images,
)
from invkit.explanation import Explanation, Profile
from invkit.flows import InvarianceFlow, SemanticFlow
from invkit.interpretees import as_interpretee
from invkit.report import Picture
from invkit.report.figures import prior_sheet
from invkit.settings import Settings, expect_settings
from invkit.utils import distributed
from invkit.utils.io import clear_partials, content_hash, file_lock
from invkit.utils.progress import log

__all__ = ["Explainer", "as_explainer"]


class Explainer:
    """Images, an autoencoder and concepts, with which any number of models and layers are explained.

    What does not depend on the explained model is trained once, by :meth:`fit` or by the first explanation: the
    autoencoder E, D (paper, sec. 3.1), the codes z̄ of all images, the semantic flow e (sec. 3.2) if the images have
    concepts, and the unconditional likelihood p(z̄). For each layer :meth:`explain` then trains a conditional flow t.

    Args:
        images: a folder, a data set or its name, a loader, an array or tensor of images, see
            :func:`invkit.as_image_set`. None for images of the autoencoder if it is a generator, else for the built-in
            ColorDigits.
        concepts: labels by name (classes, numbers or colours) in the order of the images; or a CSV file about the
            images of a folder.
        groups: images of one group are never split between training and held-out images.
        held_out: images to evaluate on. None holds out a share of `images`, see :class:`invkit.Settings`.
        size: side of the images in px. None for their own, between 28 and 64 px; larger images need an autoencoder
            that was trained on a GPU, or a pretrained one.
        autoencoder: a trained one, its folder, or its name (``diffusers:autoencoder-tiny-64``). None trains one on the
            images, or takes the generator that made them.
        settings: all other choices, or the name of a preset: ``"quick"`` for a first look, ``"paper"`` for the paper's
            flows, ``"few"`` for few photographs. None chooses by size and number of the images
            (:meth:`invkit.Settings.for_images`).
        seed: of every random draw.
        cache: folder for trained parts. They are found again, and interrupted runs resume.

    Attributes:
        train: training images.
        held_out: images that nothing is trained on.
        settings: all settings.
        seed: as passed.
        cache: as passed.
        is_fitted: whether all attributes below are there.
        autoencoder: E and D (fitted).
        train_copies: training images with their randomly flipped and cropped copies (fitted).
        codes: posteriors of the codes of `train_copies` (fitted).
        held_out_codes: posteriors of the codes of `held_out` (fitted).
        e: semantic flow; None without concepts (fitted).
        prior: flow that models p(z̄) without a condition (fitted).
        metrics: held-out `nll_prior`, −log p(z̄) in nats per dimension, and `psnr` of reconstructions in dB (fitted).
        complete: whether no training was interrupted so far (fitted).

    Raises:
        DataError: images or labels that cannot be used, or too few.
        SettingsError: settings that do not fit the data.

    Example:
        >>> import invkit
        >>> explainer = invkit.Explainer(invkit.color_digits(copies=1), settings=invkit.Settings.tiny())
        >>> explainer
        Explainer(1,221 + 216 images of 28 px, concepts digit, foreground, background; not fitted)
        >>> explanation = explainer.explain(network, "2")
        >>> explainer.is_fitted
        True
    """

    autoencoder: Autoencoder
    train_copies: ImageSet
    codes: Codes
    held_out_codes: Codes
    prior: InvarianceFlow

    def __init__(
        self,
        images: Any = None,
        *,
        concepts: Mapping[str, Any] | str | Path | None = None,
        groups: Any = None,
        held_out: Any = None,
        size: int | None = None,
        autoencoder: Autoencoder | TrainedAutoencoder | str | Path | None = None,
        settings: Settings | str | None = None,
        seed: int = 0,
        cache: str | Path | None = None,
    ) -> None:
        expect_settings(settings)
        given = as_autoencoder(autoencoder)
        if images is None:
            images, own = default_images((), given, size)
            held_out = own if held_out is None else held_out
        found = read_images(images, given, settings, size=size, concepts=concepts, groups=groups)
        self.settings, self.seed = Settings.of(settings, found), seed
        self.cache = None if cache is None else Path(cache)
        if held_out is None:
            self.train, self.held_out = found.split(self.settings.held_out_fraction, seed)
        else:
            self.train, self.held_out = found, as_image_set(held_out, size=found.size)
        self._given_autoencoder = known_autoencoder(given, found)
        self._trained_by = None if autoencoder is None else training_settings(autoencoder)
        self._validate()

    def _validate(self) -> None:
        """Check images and settings, and forget all that was trained."""
        check_images(self.train, self.held_out, self._given_autoencoder)
        self.held_out = self.held_out.match_classes(self.train)
        check_factors(self.train, self.settings, self._given_autoencoder)
        self._reset()

    def _reset(self) -> None:
        """Forget all that was trained."""
        self.e: SemanticFlow | None = None
        self.metrics: dict[str, float] = {}
        self.complete, self.is_fitted = True, False
        self._key = ""  # hash of all that decides the codes

    def __repr__(self) -> str:
        concepts = ", ".join(self.train.concepts)
        images = f"{len(self.train):,} + {len(self.held_out):,} images of {self.train.size} px"
        state = "fitted" if self.is_fitted else "not fitted"
        return f"{type(self).__name__}({images}{f', concepts {concepts}' if concepts else ''}; {state})"

    def __getattr__(self, name: str) -> Any:
        hint = ": it is not fitted, call fit() first" if name in Explainer.__annotations__ else ""
        raise AttributeError(f"This {type(self).__name__} has no attribute '{name}'{hint}")

    def _repr_html_(self) -> str:
        text = f"<p>{html.escape(repr(self))}</p>"
        if not self.is_fitted or not self.has_encoder:
            return text
        drawn = prior_sheet(*sheet(self.autoencoder, examples(self.held_out)))
        return f'{text}<img src="{Picture(drawn, "").source}">'

    @property
    def autoencoder_is_trained_here(self) -> bool:
        """Whether :meth:`fit` trains the autoencoder."""
        return self._given_autoencoder is None

    @property
    def has_encoder(self) -> bool:
        """Whether images can be encoded; False for a generator."""
        return self._given_autoencoder is None or self._given_autoencoder.has_encoder

    @property
    def autoencoder_settings(self) -> AutoencoderSettings | None:
        """How the autoencoder is, or was, trained; None if that is unknown."""
        if self._given_autoencoder is not None:
            return self._trained_by
        return self.settings.autoencoder or AutoencoderSettings.for_images(self.train.size)

    # ---- what all explanations share

    def fit(self, *, strict: bool = False) -> Self:
        """Train what does not depend on the explained model; does nothing if that was done before.

        Args:
            strict: raise KeyboardInterrupt when a training is interrupted, instead of going on with its best weights.

        Returns:
            the Explainer itself.

        Example:
            >>> explainer.fit().metrics["nll_prior"] > 0
            True
        """
        if self.is_fitted and (self.complete or not strict):
            return self
        key, pixels = key_of(self.train, self.held_out, self.seed)
        self._reset()
        if self._given_autoencoder is not None:
            self.autoencoder = self._given_autoencoder.eval()
        else:
            chosen = self.autoencoder_settings
            assert chosen is not None
            self.autoencoder, result = fit_autoencoder(
                self.train, self.held_out, chosen, key=key, seed=self.seed, cache=self.cache
            )
            self.complete = result.complete
            if strict and not self.complete:
                raise KeyboardInterrupt
        self._encode(key, pixels)
        if self.autoencoder.has_encoder:
            rows = evenly_spaced(len(self.held_out), 512)
            seen = decode_all(self.autoencoder, self.held_out_codes.mean[rows])
            self.metrics["psnr"] = float(psnr(self.held_out.images(rows), seen).mean())
        self.prior, self.metrics["nll_prior"] = prior_nll(self, strict)
        if self.train.concepts:
            self.e = train_e(self, strict)
        self.is_fitted = True
        return self

    def _encode(self, key: str, pixels: Sequence[str]) -> None:
        """Compute the codes of all images; `key` and `pixels` as :func:`key_of` returns them."""
        self.train_copies = augmented(self.train, self.settings.copies, self.seed)
        self._key = content_hash(key, self.settings.copies, self.about_autoencoder)
        folders = [self.folder("codes", own) for own in pixels]
        self.codes = latent_codes(self.autoencoder, self.train_copies, folders[0])
        self.held_out_codes = latent_codes(self.autoencoder, self.held_out, folders[1])

    @property
    def about_autoencoder(self) -> dict[str, Any]:
        """Class, config and hash of the weights of the autoencoder."""
        return {**describe(self.autoencoder), "weights": content_hash(self.autoencoder.state_dict())}

    def path(self, kind: str, *decisive: Any) -> Path | None:
        """Return the file of a trained part, named by a hash of all that decides it; None if it is not to be kept."""
        return self._named(kind, ".safetensors", *decisive)

    def folder(self, kind: str, *decisive: Any) -> Path | None:
        """Return the folder of latents or of an explanation, as :meth:`path` does of a file."""
        return self._named(kind, "", *decisive)

    def _named(self, kind: str, suffix: str, *decisive: Any) -> Path | None:
        if self.cache is None or not self.complete:
            return None
        return self.cache / f"{kind}-{content_hash(self._key, *decisive)}{suffix}"

    @property
    def labels(self) -> list[dict[str, dict[str, Any]]]:
        """Kind, values and names of all concepts, of training and of held-out images."""
        parts = (self.train_copies, self.held_out)
        return [{name: vars(concept) for name, concept in part.concepts.items()} for part in parts]

    # ---- explanations

    def explain(
        self,
        model: str | nn.Module | Interpretee,
        layer: str | nn.Module,
        *,
        preprocess: Callable[[Tensor], Tensor] | None = None,
    ) -> Explanation:
        """Explain a layer of a model; fits the Explainer first if necessary.

        Args:
            model: as in :func:`invkit.explain`.
            layer: as in :func:`invkit.explain`.
            preprocess: as in :func:`invkit.explain`.

        Raises:
            InvkitError: as :func:`invkit.explain`.

        Example:
            >>> explainer.explain(network, "4").layer
            '4'
        """
        interpretee = as_interpretee(model, preprocess)
        address = one_layer(interpretee, layer)
        self.check([(interpretee, [address])])
        self.fit()
        return next(self.explain_each(interpretee, [address]))

    def profile(
        self,
        model: str | nn.Module | Interpretee | Mapping[str, str | nn.Module | Interpretee],
        layers: str | nn.Module | Sequence[str | nn.Module],
        *,
        preprocess: Callable[[Tensor], Tensor] | None = None,
    ) -> Profile:
        """Explain several layers of a model, or a layer of several checkpoints.

        Args:
            model: as in :func:`invkit.profile`.
            layers: as in :func:`invkit.profile`.
            preprocess: as in :func:`invkit.profile`.

        Raises:
            InvkitError: as :func:`invkit.explain`.

        Example:
            >>> list(explainer.profile(network, ["2", "4"]).explanations)
            ['2', '4']
        """
        models = model if isinstance(model, Mapping) else {"": model}
        interpretees = {name: as_interpretee(m, preprocess) for name, m in models.items()}
        subjects = {name: (i, find_layers(i, layers)) for name, i in interpretees.items()}
        self.check([*subjects.values()])
        self.fit()
        found: dict[str, Explanation] = {}
        for name, (interpretee, addresses) in subjects.items():
            for explanation in self.explain_each(interpretee, addresses, name=name):
                several = len(addresses) > 1 or not name
                label = " ".join(part for part in (name, explanation.layer if several else "") if part)
                found[label] = explanation
                log(f"{label}: invariance {explanation.invariance()}")
        return Profile(found, axis="checkpoint" if isinstance(model, Mapping) else "layer")

    def check(self, subjects: Sequence[tuple[Interpretee, Sequence[str]]]) -> None:
        """Run models on two images, build H for each layer, and check the disk space for the representations.

        Args:
            subjects: models, each with addresses of layers.

        Raises:
            LayerError: a layer that does not exist, never fires, or has no usable output.
            ArtefactError: too little memory and disk space for the representations.
        """
        if not len(self.train):
            raise ArtefactError(
                "This Explainer was saved without its training images",
                expected="images, to represent them by another model",
                hint="Explainer.load(folder, images=...) with the images that it was made of.",
            )
        shapes = [check_layers(interpretee, layers, self.train, self.settings) for interpretee, layers in subjects]
        sizes = [4 * sum(math.prod(shape) for shape in of.values()) for of in shapes]
        # without a cache the representations of one model are gone before the next
        largest = max(sizes, default=0) if self.cache is None else sum(sizes)
        images = len(self.train) * self.settings.copies + len(self.held_out)
        check_latents_fit(images * largest, self.cache)

    def explain_each(
        self,
        interpretee: Interpretee,
        layers: Sequence[str],
        *,
        name: str = "",
        z: Mapping[str, tuple[Rows, Rows]] | None = None,
        strict: bool = False,
    ) -> Iterator[Explanation]:
        """Explain layers of one model, one after the other, from one pass over the images.

        Args:
            interpretee: the model.
            layers: addresses.
            name: of the model, shown with the progress.
            z: result of :meth:`representations`, if it was computed before.
            strict: as in :meth:`fit`.
        """
        key = model_key(self, interpretee, layers)
        together = [[*layers]] if self.settings.amortised and len(layers) > 1 else []
        folders = {layer: self._explanation_folder(key[layer], layer, *together) for layer in layers}
        kept = {layer: self._kept(interpretee, folder) for layer, folder in folders.items()}
        missing = distributed.broadcast([layer for layer, found in kept.items() if found is None])
        if together and missing:
            missing = [*folders]
        z_of = self.representations(interpretee, missing) if z is None else {layer: z[layer] for layer in missing}
        title = f"t of {name}{' ' if name else ''}"
        shared = train_together(self, z_of, key, f"{title}all layers", strict) if together else {}
        for layer, found in kept.items():
            if layer in missing:
                own = content_hash(key[layer], layer)
                t, complete = shared.get(layer) or train_t(self, z_of[layer], own, f"{title}{layer}", strict=strict)
                found = explanation_of(self, interpretee, layer, t, z_of.pop(layer), complete=complete)
                folder = folders[layer]
                if folder is not None and complete and distributed.is_main():
                    with file_lock(folder):
                        clear_partials(folder, "*")
                        found.save(folder)
            assert found is not None
            yield found

    def representations(self, interpretee: Interpretee, layers: Sequence[str]) -> dict[str, tuple[Rows, Rows]]:
        """Return z of `train_copies` and of `held_out` by layer, from one pass, in files if there is a cache."""
        weights = interpretee.fingerprint()
        train, held_out = (
            represent_all(interpretee, layers, part, self.folder("representations", weights, name))
            for name, part in (("train", self.train_copies), ("held-out", self.held_out))
        )
        return {layer: (train[layer], held_out[layer]) for layer in layers}

    def _explanation_folder(self, key: str, layer: str, *more: Any) -> Path | None:
        decisive: list[Any] = [self.settings.to_dict(), *self.labels, *more]
        if self.held_out.groups is not None:
            decisive.append(self.held_out.groups)  # standard errors depend on them
        if self.e is not None:
            decisive += [self.e.state_dict(), [*self.e.factors.items()]]
        return self.folder("explanation", key, layer, *decisive)

    def _kept(self, interpretee: Interpretee, folder: Path | None) -> Explanation | None:
        """Load an explanation from the cache; None if there is none, or a damaged one."""
        if folder is None or not (folder / "manifest.json").exists():
            return None
        try:
            own = None if isinstance(self.settings.t.embedder, str) else self.settings.t.embedder
            return Explanation.load(folder, interpretee, autoencoder=self.autoencoder, embedder=own)
        except ArtefactError as error:
            log(f"{error.what}; it is recomputed")
            return None

    # ---- files

    def save(self, folder: str | Path, *, images: bool = True) -> Path:
        """Fit if necessary, and write all that is needed to explain other models elsewhere: safetensors and JSON.

        Args:
            folder: to write to.
            images: write the training images too. Without them they have to be passed to :meth:`load` again.

        Returns:
            the folder.

        Raises:
            ArtefactError: the disk is full.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     again = invkit.Explainer.load(explainer.save(folder))
            >>> again.metrics == explainer.metrics
            True
        """
        return save_explainer(self.fit(), Path(folder), images)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        images: Any = None,
        autoencoder: Autoencoder | TrainedAutoencoder | str | Path | None = None,
        cache: str | Path | None = None,
    ) -> Self:
        """Read what :meth:`save` wrote. Nothing in the folder is executed.

        Args:
            folder: to read.
            images: the training images, if they were not saved, in the same order and of the same size.
            autoencoder: the autoencoder, if it is not one of invkit's own.
            cache: folder for the trained parts of new explanations.

        Raises:
            ArtefactError: no such folder, a damaged one, or another autoencoder.
            DataError: other images than it was made of.
        """
        return load_explainer(cls, Path(folder), images, as_autoencoder(autoencoder), cache)

    @classmethod
    def restored(
        cls,
        train: ImageSet | None,
        held_out: ImageSet,
        autoencoder: Autoencoder,
        settings: Settings,
        seed: int,
        cache: str | Path | None,
        trained_by: AutoencoderSettings | None,
    ) -> Self:
        """Return an Explainer of known parts, to which e, prior and metrics are still to be added."""
        found = cls.__new__(cls)
        found.settings, found.seed, found.cache = settings, seed, None if cache is None else Path(cache)
        found.held_out, found.train = held_out, held_out.take(torch.arange(0)) if train is None else train
        found._given_autoencoder = found.autoencoder = autoencoder.eval()
        found._trained_by = trained_by
        found._reset()
        if train is not None:
            found._encode(*key_of(train, held_out, seed))
        found.is_fitted = True
        return found

    @staticmethod
    def is_saved_in(folder: str | Path) -> bool:
        """Whether a folder holds what :meth:`save` wrote."""
        return (Path(folder) / "explainer.json").exists()

    def replace(
        self,
        *,
        train: ImageSet | None = None,
        held_out: ImageSet | None = None,
        autoencoder: Autoencoder | None = None,
        trained_by: AutoencoderSettings | None = None,
        settings: Settings | None = None,
    ) -> Explainer:
        """Return an Explainer that is not fitted, with other images, another autoencoder or other settings.

        Args:
            train: training images.
            held_out: held-out images.
            autoencoder: E and D.
            trained_by: settings of its training, if they are known.
            settings: all settings.
        """
        other = copy.copy(self)
        other.train, other.held_out = train or self.train, held_out or self.held_out
        other.settings = settings or self.settings
        if autoencoder is not None:
            other._given_autoencoder, other._trained_by = autoencoder, trained_by
        other._validate()
        return other


def as_explainer(data: Any) -> Explainer:
    """Return an Explainer as it is, load it from its folder, or make one of images with default settings."""
    if isinstance(data, Explainer):
        return data
    if isinstance(data, (str, Path)) and Explainer.is_saved_in(data):
        return Explainer.load(data)
    return Explainer(data)

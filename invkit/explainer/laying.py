"""Training what does not depend on the explained model: the autoencoder, the codes, e, and the likelihood of a code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from invkit.autoencoders import AutoencoderSettings, describe, file_of, fit_autoencoder, key_of
from invkit.core import Autoencoder
from invkit.data import ImageSet, augmented, decode_all, evenly_spaced, latent_codes
from invkit.evaluation import psnr
from invkit.explainer.checks import check_data, known_autoencoder, parts
from invkit.explainer.ground import Groundwork, as_wanted, name_of
from invkit.explainer.invariance import decisive_of_t, prior_nll
from invkit.explainer.semantic import with_e
from invkit.settings import Settings
from invkit.utils.io import content_hash

__all__ = ["is_begun", "lay_groundwork"]


def lay_groundwork(
    images: ImageSet,
    *,
    held_out: ImageSet | None = None,
    autoencoder: Autoencoder | None = None,
    factor_sizes: Mapping[str, int] | None = None,
    settings: Settings | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
    whole: bool = False,
) -> Groundwork:
    """Train what does not depend on the explained model.

    Args:
        images: all of them, or those to train on where `held_out` is given.
        held_out: images to judge by, with the same concepts.
        autoencoder: as all others, see :func:`invkit.explain`.
        factor_sizes: dimensions of e by concept.
        settings: None for what suits the images' size and number.
        seed: of every draw.
        cache: folder of trained parts.
        whole: see :class:`Groundwork`.

    Raises:
        KeyboardInterrupt: a training was cut short, and all are wanted whole.
    """
    settings = settings or Settings.for_images(images)
    check_data(
        images, held_out=held_out, autoencoder=autoencoder, factor_sizes=factor_sizes, settings=settings, seed=seed
    )
    train, test = parts(images, held_out, settings, seed)
    test = test.match_classes(train)
    autoencoder = known_autoencoder(autoencoder, images)
    folder, complete = None if cache is None else Path(cache), True
    key, pixels = key_of(train, test, seed)
    if autoencoder is None:
        chosen = settings.autoencoder or AutoencoderSettings.for_images(train.size)
        autoencoder, result = fit_autoencoder(train, test, chosen, key=key, seed=seed, cache=folder)
        complete = as_wanted(result, whole).complete
    autoencoder.eval()
    train = augmented(train, settings.copies, seed)
    about = _about(autoencoder)
    key = content_hash(key, settings.copies, about)
    places = (folder / name_of("codes", key, own) if folder and complete else None for own in pixels)
    codes, test_codes = (
        latent_codes(autoencoder, part, place) for part, place in zip((train, test), places, strict=True)
    )
    figures: dict[str, float] = {}
    if autoencoder.has_encoder:
        some = evenly_spaced(len(test), 512)
        figures["psnr"] = float(psnr(test.images(some), decode_all(autoencoder, test_codes.mean[some])).mean())
    ground = Groundwork(
        train, test, autoencoder, about, codes, test_codes, None, figures, settings, seed, folder, key,
        complete, whole,
    )  # fmt: skip
    figures["nll_prior"], prior_complete = prior_nll(ground)
    ground = replace(ground, complete=complete and prior_complete)
    return with_e(ground, factor_sizes) if train.concepts else ground


def is_begun(
    images: ImageSet,
    *,
    held_out: ImageSet | None,
    autoencoder: Autoencoder | None,
    settings: Settings,
    seed: int,
    cache: Path,
) -> bool:
    """Whether the first training of a groundwork was begun in a cache; all others as of :func:`lay_groundwork`.

    That is the autoencoder's, before which there are no latents; of one that is given that of z̄ alone, which finds the
    codes there.
    """
    if not any(cache.glob("*")):
        return False  # without a look at the images
    train, test = parts(images, held_out, settings, seed)
    key, _ = key_of(train, test, seed)
    autoencoder = known_autoencoder(autoencoder, images)
    if autoencoder is None:
        first = file_of(settings.autoencoder or AutoencoderSettings.for_images(train.size), key, cache)
    else:
        key = content_hash(key, settings.copies, _about(autoencoder))
        first = cache / f"{name_of('t', key, *decisive_of_t(settings, 'prior'))}.safetensors"
    return first.exists() or first.with_suffix(".checkpoint").exists()


def _about(autoencoder: Autoencoder) -> dict[str, Any]:
    """Tell class, config and hash of the weights."""
    return {**describe(autoencoder), "weights": content_hash(autoencoder.state_dict())}

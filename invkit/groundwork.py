"""What all layers of all models share: images, codes, e; and how one t is trained on top."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from invkit import processes
from invkit.autoencoders import describe
from invkit.autoencoding import file_of, fit_autoencoder, key_of
from invkit.core import Autoencoder
from invkit.data import (
    Codes,
    Generated,
    ImageSet,
    Pairing,
    Rows,
    augmented,
    decode_all,
    evenly,
    latent_codes,
    rows_that_fit,
)
from invkit.errors import DataError, SettingsError
from invkit.flows import Embedder, InvarianceFlow, SemanticFlow, estimate_factor_sizes
from invkit.seeds import generator_for, seeded
from invkit.serialize import fingerprint
from invkit.settings import AutoencoderSettings, Settings
from invkit.training import (
    AmortisedTask,
    AnchorTask,
    FitResult,
    FitSettings,
    InvarianceTask,
    SemanticTask,
    Task,
    fit_or_load,
    held_out_nll,
    psnr,
)

__all__ = [
    "Groundwork",
    "build_e",
    "build_t",
    "check_data",
    "is_begun",
    "lay_groundwork",
    "train_t",
    "train_together",
    "with_residual",
]

_ENOUGH, _SOME = 64, 4096  # training images at least, and those from which flows are initialised


@dataclass(frozen=True)
class Groundwork:
    """What all layers of all models share: images, codes, e and the likelihood without a condition.

    Attributes:
        train: images to train on, copies included.
        held_out: images to judge by.
        autoencoder: E and D.
        about: class, config and hash of the weights of the autoencoder.
        codes: posteriors of the training images' codes, in files where there is a cache.
        held_out_codes: those of the held-out images.
        e: semantic flow, None without concepts.
        figures: held-out PSNR of reconstructions and NLL(z̄).
        settings: all of them.
        seed: of every draw.
        cache: folder of trained parts, None to keep none.
        progress: show it.
        key: hash of all that decides the codes: images, autoencoder, seed, version.
        complete: whether all training so far came to its own end; what is made with half a part is not kept.
        whole: raise KeyboardInterrupt where a training is cut short, instead of going on with what it came to.
    """

    train: ImageSet
    held_out: ImageSet
    autoencoder: Autoencoder
    about: dict[str, Any]
    codes: Codes
    held_out_codes: Codes
    e: SemanticFlow | None
    figures: dict[str, float]
    settings: Settings
    seed: int
    cache: Path | None
    progress: bool
    key: str
    complete: bool = True
    whole: bool = False

    @property
    def labels(self) -> list[dict[str, dict[str, Any]]]:
        """Kind, values and names of all concepts, of training and of held-out images, to name files after."""
        return [{name: vars(c) for name, c in part.concepts.items()} for part in (self.train, self.held_out)]

    def path(self, kind: str, *things: Any) -> Path | None:
        """Name the file of a trained part after all that decides it."""
        return _file(self.cache, kind, self.key, *things) if self.cache and self.complete else None

    def folder(self, kind: str, *things: Any) -> Path | None:
        """Name a folder of latents, or of an explanation, after all that decides it."""
        return _folder(self.cache if self.complete else None, kind, self.key, *things)

    def fit(self, task: Task, how: FitSettings, path: Path | None) -> FitResult:
        """Train a part, or find it at its path.

        Raises:
            KeyboardInterrupt: it was cut short, and is wanted whole.
        """
        return _whole(fit_or_load(task, how, path=path, seed=self.seed, progress=self.progress), self.whole)


def _whole(result: FitResult, wanted: bool) -> FitResult:
    if wanted and not result.complete:
        raise KeyboardInterrupt
    return result


def _folder(cache: Path | None, kind: str, *things: Any) -> Path | None:
    return None if cache is None else cache / _name(kind, *things)


def _file(cache: Path, kind: str, *things: Any) -> Path:
    return cache / f"{_name(kind, *things)}.safetensors"


def _name(kind: str, *things: Any) -> str:
    return f"{kind}-{fingerprint(*things)}"


def lay_groundwork(
    images: ImageSet,
    *,
    held_out: ImageSet | None = None,
    autoencoder: Autoencoder | None = None,
    factor_sizes: Mapping[str, int] | None = None,
    settings: Settings | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
    progress: bool = True,
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
        progress: show it.
        whole: see :class:`Groundwork`.

    Raises:
        KeyboardInterrupt: a training was cut short, and all are wanted whole.
    """
    settings = settings or Settings.for_images(images)
    check_data(
        images, held_out=held_out, autoencoder=autoencoder, factor_sizes=factor_sizes, settings=settings, seed=seed
    )
    train, test = images.split(settings.held_out, seed) if held_out is None else (images, held_out)
    test = test.numbered_as(train)
    autoencoder = _known(autoencoder, images)
    folder, complete = None if cache is None else Path(cache), True
    key, pixels = key_of(train, test, seed)
    if autoencoder is None:
        chosen = settings.autoencoder or AutoencoderSettings.for_images(train.size)
        autoencoder, result = fit_autoencoder(train, test, chosen, key=key, seed=seed, cache=folder, progress=progress)
        complete = _whole(result, whole).complete
    autoencoder.eval()
    train = augmented(train, settings.copies, seed)
    about = _about(autoencoder)
    key = fingerprint(key, settings.copies, about)
    codes, test_codes = (
        latent_codes(autoencoder, part, _folder(folder if complete else None, "codes", key, own), progress=progress)
        for part, own in zip((train, test), pixels, strict=True)
    )
    figures: dict[str, float] = {}
    if autoencoder.has_encoder:
        some = evenly(len(test), 512)
        figures["psnr"] = float(psnr(test.images(some), decode_all(autoencoder, test_codes.mean[some])).mean())
    ground = Groundwork(
        train, test, autoencoder, about, codes, test_codes, None, figures, settings, seed, folder, progress, key,
        complete, whole,
    )  # fmt: skip
    figures["nll_prior"], prior_complete = _prior_nll(ground)
    ground = replace(ground, complete=complete and prior_complete)
    return _with_e(ground, factor_sizes) if train.concepts else ground


def check_data(
    images: ImageSet,
    *,
    held_out: ImageSet | None,
    autoencoder: Autoencoder | None,
    factor_sizes: Mapping[str, int] | None,
    settings: Settings,
    seed: int,
) -> None:
    """Refuse, before any work, what no groundwork can be laid on; all as of :func:`lay_groundwork`.

    Raises:
        DataError: too few images, or held-out ones with other concepts or classes.
        SettingsError: codes of no known form, or factors that do not fit into them.
    """
    test = int(images.held_out_rows(settings.held_out, seed).sum()) if held_out is None else len(held_out)
    train = len(images) - test if held_out is None else len(images)
    if train < _ENOUGH or test < 2:
        raise DataError(
            "Too few images to explain a layer",
            expected=f"at least {_ENOUGH} to train on and 2 held out; 2,000 and more for figures to rely on",
            got=f"{train} and {test}",
        )
    if held_out is not None:
        held_out.numbered_as(images)
    autoencoder = _known(autoencoder, images)
    if autoencoder is not None and len(autoencoder.latent_shape) not in (1, 3):
        raise SettingsError(
            "This autoencoder's codes are neither vectors nor maps",
            expected="latent_shape (N,) or (C, H, W)",
            got=autoencoder.latent_shape,
        )
    chosen = settings.autoencoder or AutoencoderSettings.for_images(images.size)
    dim = chosen.latent_dim if autoencoder is None else math.prod(autoencoder.latent_shape)
    _check_factors(images, factor_sizes, dim)


def _check_factors(images: ImageSet, factor_sizes: Mapping[str, int] | None, dim: int) -> None:
    """Check sizes that are given, and that those to be estimated leave room for the residual."""
    sizes = with_residual(factor_sizes or dict.fromkeys(images.concepts, 1), dim)
    unknown = sizes.keys() - images.concepts.keys() - {"residual"}
    if unknown:
        raise SettingsError(
            f"No labels for {', '.join(sorted(unknown))}", expected=f"sizes for {', '.join(images.concepts) or 'none'}"
        )
    if sum(sizes.values()) != dim or min(sizes.values()) < 1:
        fewer = "smaller `factor_sizes`" if factor_sizes else "fewer concepts"
        raise SettingsError(
            "The factors do not fit into the code",
            expected=f"sizes of 1 or more, {dim} with the residual",
            got=", ".join(f"{name}: {size}" for name, size in sizes.items())[:200],
            hint=f"Give {fewer}, or a larger `latent_dim` in the settings.",
        )


def with_residual(sizes: Mapping[str, int], dim: int) -> dict[str, int]:
    """Give sizes of all of e's factors, the residual first: it fills what the others leave of the code."""
    return {"residual": dim - sum(size for name, size in sizes.items() if name != "residual"), **sizes}


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
    train, test = images.split(settings.held_out, seed) if held_out is None else (images, held_out)
    key, _ = key_of(train, test, seed)
    autoencoder = _known(autoencoder, images)
    if autoencoder is None:
        first = file_of(settings.autoencoder or AutoencoderSettings.for_images(train.size), key, cache)
    else:
        key = fingerprint(key, settings.copies, _about(autoencoder))
        first = _file(cache, "t", key, *_decisive_of_t(settings, "prior"))
    return first.exists() or first.with_suffix(".checkpoint").exists()


def _known(autoencoder: Autoencoder | None, images: ImageSet) -> Autoencoder | None:
    """Give the autoencoder that was handed over, or that made the images; None where one is to be trained."""
    made = images.pixels.autoencoder if isinstance(images.pixels, Generated) else None
    return made if autoencoder is None else autoencoder


def _about(autoencoder: Autoencoder) -> dict[str, Any]:
    """Tell class, config and hash of the weights."""
    return {**describe(autoencoder), "weights": fingerprint(autoencoder.state_dict())}


def _decisive_of_t(settings: Settings, model_key: str) -> list[Any]:
    """Give what a t is named after, beside what all share."""
    return [model_key, asdict(settings.t), asdict(settings.fit_t), settings.noise_floor]


def _prior_nll(ground: Groundwork) -> tuple[float, bool]:
    """NLL(z̄) of held-out images: that of a flow like t whose condition says nothing; and whether it is complete."""
    nothing = (torch.zeros(len(ground.train), 1), torch.zeros(len(ground.held_out), 1))
    flow, complete = train_t(ground, nothing, "prior", None, "z̄ alone")
    return float(held_out_nll(flow, ground.held_out_codes, nothing[1]).mean()), complete


def _with_e(ground: Groundwork, factor_sizes: Mapping[str, int] | None) -> Groundwork:
    """Train e."""
    settings, codes, concepts = ground.settings, ground.codes, ground.train.concepts
    generator = generator_for(ground.seed, "partners")
    dim, shape = codes.mean.shape[1], ground.autoencoder.latent_shape
    rows = torch.randperm(len(codes), generator=generator)[:_SOME]
    if not factor_sizes:
        partners = {name: codes.mean[Pairing(c).draw(rows, generator)] for name, c in concepts.items()}
        most = {name: c.dimensions for name, c in concepts.items()}
        factor_sizes = estimate_factor_sizes(codes.mean[rows], partners, most=most)
    sizes = with_residual(factor_sizes, dim)
    e = build_e(settings, shape, sizes, codes[rows].sample(generator), ground.seed)
    e.to(processes.device())
    held_out = (ground.held_out_codes, ground.held_out.concepts)
    decisive: list[Any] = [[*sizes.items()], settings.rho, asdict(settings.e)]  # the order of factors counts
    decisive += ground.labels
    for kind, task, how in (
        ("anchors", AnchorTask(e, codes, concepts, held_out), settings.fit_anchors),
        ("e", SemanticTask(e, codes, concepts, held_out), settings.fit_e),
    ):
        decisive.append(asdict(how))
        path = ground.path(kind, *decisive)
        result = ground.fit(task, how, path)
        ground = replace(ground, complete=ground.complete and result.complete)
    return replace(ground, e=e.cpu())


def build_e(
    settings: Settings, code: tuple[int, ...], sizes: Mapping[str, int], latents: Tensor, seed: int = 0
) -> SemanticFlow:
    """Build e for codes of a shape, initialised from some of them, (B, N)."""
    with seeded(seed, "build", "e"):
        e = SemanticFlow(settings.e.blocks(code, seed=seed), sizes, settings.rho)
    e.initialize(latents)
    return e


def build_t(
    settings: Settings, code: tuple[int, ...], embedder: Embedder | None, latents: Tensor, z: Tensor, seed: int = 0
) -> InvarianceFlow:
    """Build t for codes of a shape, initialised from some of them, (B, N), and from their representations (B, …)."""
    with seeded(seed, "build", "t"):
        h = settings.t.build_embedder(tuple(z.shape[1:]), code) if embedder is None else copy.deepcopy(embedder)
        blocks = settings.t.blocks(code, h.condition_dim, seed=seed)
        t = InvarianceFlow(blocks, h, noise_floor=settings.noise_floor, recompute=settings.t.recompute)
    t.initialize(latents, z)
    return t


def train_t(
    ground: Groundwork, z: tuple[Rows, Rows], model_key: str, embedder: Embedder | None, title: str
) -> tuple[InvarianceFlow, bool]:
    """Train t on representations of the training images, judged by those of the held-out ones.

    Returns:
        t, and whether its training came to its own end.
    """
    settings = ground.settings
    task = _t_task(ground, z, embedder, title)
    path = ground.path("t", *_decisive_of_t(settings, model_key))
    result = ground.fit(task, settings.fit_t, path)
    return task.module.cpu(), result.complete


def train_together(
    ground: Groundwork, z: Mapping[str, tuple[Rows, Rows]], model_key: str, embedder: Embedder | None, title: str
) -> tuple[dict[str, InvarianceFlow], bool]:
    """Train one t for several layers, each with an H of its own; for half as many steps as all of theirs would take.

    Args:
        ground: what they share.
        z: representations of training and of held-out images, by layer.
        model_key: hash of the model and of what decides z.
        embedder: H, of which each layer trains a copy.
        title: shown with the progress.

    Returns:
        t of each layer, and whether training came to its own end.
    """
    settings = ground.settings
    tasks = [_t_task(ground, each, embedder, layer) for layer, each in z.items()]
    how = replace(settings.fit_t, steps=max(1, settings.fit_t.steps * len(z) // 2))
    path = ground.path("t", model_key, [*z], asdict(settings.t), asdict(how), settings.noise_floor)
    result = ground.fit(AmortisedTask(tasks, title), how, path)
    return {layer: task.module.cpu() for layer, task in zip(z, tasks, strict=True)}, result.complete


def _t_task(ground: Groundwork, z: tuple[Rows, Rows], embedder: Embedder | None, title: str) -> InvarianceTask:
    """Build t, initialised from some images, and its task."""
    settings, seed = ground.settings, ground.seed
    rows = torch.randperm(len(z[0]), generator=generator_for(seed, "initialise"))
    rows = rows[: rows_that_fit(_SOME, z[0].shape[1:])]
    latents = ground.codes[rows].sample(generator_for(seed, "t"))
    t = build_t(settings, ground.autoencoder.latent_shape, embedder, latents, z[0][rows], seed).to(processes.device())
    return InvarianceTask(t, ground.codes, z[0], (ground.held_out_codes, z[1]), title)

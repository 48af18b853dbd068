"""The recipe: from images, a model and a layer to an explanation. Readable in one screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invkit.autoencoders import ConvAutoencoder
from invkit.core import Autoencoder, Interpretee, Posterior
from invkit.data import ImageSet, Pairing, as_image_set, encode_all, represent_all
from invkit.errors import DataError, LayerError, SettingsError
from invkit.evaluation import probe
from invkit.explanation import Explanation, HeldOut
from invkit.flows import Embedder, FlowSettings, InvarianceFlow, SemanticFlow, estimate_factor_sizes
from invkit.interpretees import ModuleInterpretee, as_interpretee
from invkit.profiles import Profile
from invkit.progress import say
from invkit.seeds import generator_for, seed_for
from invkit.serialize import fingerprint, read_tensors, write_tensors
from invkit.training import (
    AnchorTask,
    AutoencoderTask,
    FitSettings,
    InvarianceTask,
    SemanticTask,
    fit_or_load,
    held_out_nll,
    psnr,
)

__all__ = ["Groundwork", "Settings", "explain", "explain_each", "lay_groundwork", "profile"]

_ENOUGH = 64  # training images
_KEPT = 600  # held-out images that an explanation carries with it


@dataclass(frozen=True)
class Settings:
    """All that decides an explanation beside the data and the seed.

    Attributes:
        latent_dim: N, dimension of the code z̄ of a newly trained autoencoder.
        noise_floor: standard deviation of the noise on z, relative to z's total; what it hides counts as thrown
            away (:class:`InvarianceFlow`).
        held_out: share of the images that nothing is trained on.
        rho: correlation ρ of a shared concept (eq. 11).
        t: architecture of the conditional flow.
        e: architecture of the semantic flow.
        fit_autoencoder: training of the autoencoder.
        fit_t: training of t.
        fit_anchors: training of e towards its concepts (:class:`AnchorTask`).
        fit_e: training of e on pairs, from there.
    """

    latent_dim: int = 64
    noise_floor: float = 0.003
    held_out: float = 0.15
    rho: float = 0.9
    t: FlowSettings = field(default_factory=lambda: FlowSettings(width=384))
    e: FlowSettings = field(default_factory=lambda: FlowSettings(width=384))
    fit_autoencoder: FitSettings = FitSettings(
        steps=1200, batch_size=64, learning_rate=2e-3, evaluate_every=200, bf16=True
    )
    fit_t: FitSettings = FitSettings(steps=500, batch_size=512, learning_rate=2e-3, weight_decay=0.1, bf16=True)
    fit_anchors: FitSettings = FitSettings(steps=800, batch_size=512, learning_rate=2e-3, weight_decay=0.1, bf16=True)
    fit_e: FitSettings = FitSettings(
        steps=100, batch_size=256, learning_rate=3e-4, weight_decay=0.1, evaluate_every=50, bf16=True
    )

    @classmethod
    def quick(cls) -> Settings:
        """Give a first look in a minute or two; the figures are rough."""
        default, few = cls(), 200
        return replace(
            default,
            fit_autoencoder=replace(default.fit_autoencoder, steps=2 * few),
            fit_t=replace(default.fit_t, steps=few),
            fit_anchors=replace(default.fit_anchors, steps=few),
            fit_e=replace(default.fit_e, steps=few),
        )

    @classmethod
    def paper(cls) -> Settings:
        """Give the paper's flows (table S10) and the optimiser of the authors' code, for a GPU."""
        slow = FitSettings(
            steps=250_000,
            batch_size=16,
            learning_rate=7.2e-5,
            betas=(0.5, 0.9),
            evaluate_every=1000,
            patience=250,
        )
        return cls(
            latent_dim=64,
            t=FlowSettings.paper(),
            e=FlowSettings.paper(12, 512, 2),
            fit_t=slow,
            fit_e=slow,
            fit_autoencoder=replace(cls().fit_autoencoder, steps=20_000),
        )


@dataclass(frozen=True)
class Groundwork:
    """What all layers of all models share: images, codes, e and the likelihood without a condition.

    Attributes:
        train: images to train on.
        held_out: images to judge by.
        autoencoder: E and D.
        codes: posterior of the training images' codes.
        held_out_codes: posterior of the held-out images' codes.
        e: semantic flow, None without concepts.
        figures: held-out PSNR of reconstructions and NLL(z̄).
        settings: all of them.
        seed: of every draw.
        cache: folder of trained parts, None to keep none.
        progress: show it.
        key: hash of all that decides the codes.
    """

    train: ImageSet
    held_out: ImageSet
    autoencoder: Autoencoder
    codes: Posterior
    held_out_codes: Posterior
    e: SemanticFlow | None
    figures: dict[str, float]
    settings: Settings
    seed: int
    cache: Path | None
    progress: bool
    key: str

    def path(self, kind: str, *things: Any) -> Path | None:
        """Name the file of a trained part after all that decides it."""
        return _path(self.cache, kind, self.key, *things)


def _path(cache: Path | None, kind: str, *things: Any) -> Path | None:
    return None if cache is None else cache / f"{kind}-{fingerprint(*things)}.safetensors"


def _build(seed: int, name: str, build: Callable[[], Any]) -> Any:
    """Build a module whose initial weights hang on the seed, leaving the global state as found."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed_for(seed, "build", name))
        return build()


def lay_groundwork(
    data: Any,
    *,
    concepts: Mapping[str, Any] | None = None,
    groups: Any = None,
    held_out: Any = None,
    size: int | None = None,
    autoencoder: Autoencoder | None = None,
    factor_sizes: Mapping[str, int] | None = None,
    settings: Settings | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
    progress: bool = True,
) -> Groundwork:
    """Read the data and train what does not depend on the explained model; see :func:`explain`."""
    settings = settings or Settings()
    folder = None if cache is None else Path(cache)
    size = size if autoencoder is None else autoencoder.image_size
    images = as_image_set(data, size=size, concepts=concepts, groups=groups, progress=progress)
    if held_out is None:
        train, test = images.split(settings.held_out, seed)
    else:
        train, test = images, as_image_set(held_out, size=images.size, progress=progress)
    if len(train) < _ENOUGH or len(test) < 2:
        raise DataError(
            "Too few images to explain a layer",
            expected=f"at least {_ENOUGH} to train on and 2 held out; 2,000 and more for figures to rely on",
            got=f"{len(train)} and {len(test)}",
        )
    key = fingerprint(train.fingerprint(), test.fingerprint(), asdict(settings), seed, version("invkit"))
    figures: dict[str, float] = {}
    if autoencoder is None:
        dim = settings.latent_dim
        autoencoder = _build(seed, "autoencoder", lambda: ConvAutoencoder(images.size, dim))
        task = AutoencoderTask(autoencoder, train, test)
        fit_or_load(
            task,
            settings.fit_autoencoder,
            path=_path(folder, "autoencoder", key),
            seed=seed,
            progress=progress,
        )
    elif len(autoencoder.latent_shape) != 1:
        raise SettingsError(
            "This autoencoder's codes are not vectors",
            expected="latent_shape (N,)",
            got=autoencoder.latent_shape,
        )
    autoencoder.eval()
    key = fingerprint(key, autoencoder.state_dict())
    codes, test_codes = (
        _codes(autoencoder, part, _path(folder, "codes", key, part.fingerprint())) for part in (train, test)
    )
    with torch.no_grad():
        some = test.images(slice(512))
        figures["psnr"] = float(psnr(some, autoencoder.decode(test_codes.mean[:512])).mean())
    ground = Groundwork(
        train, test, autoencoder, codes, test_codes, None, figures, settings, seed, folder, progress, key
    )
    figures["nll_prior"] = _prior_nll(ground)
    if not train.concepts:
        return ground
    e = _semantic(ground, factor_sizes)
    return replace(ground, e=e, key=fingerprint(key, e.state_dict()))


def _codes(autoencoder: Autoencoder, data: ImageSet, path: Path | None) -> Posterior:
    """Encode all images, or read what was encoded before."""
    if path is not None and path.exists():
        return Posterior(**read_tensors(path)[0])
    codes = encode_all(autoencoder, data)
    if path is not None:
        write_tensors(path, vars(codes))
    return codes


def _prior_nll(ground: Groundwork) -> float:
    """NLL(z̄) of held-out images: that of a flow like t whose condition says nothing."""
    nothing = (torch.zeros(len(ground.train), 1), torch.zeros(len(ground.held_out), 1))
    flow, _ = _flow(ground, nothing, "prior", None, "z̄ alone")
    return float(held_out_nll(flow, ground.held_out_codes, nothing[1]).mean())


def _semantic(ground: Groundwork, factor_sizes: Mapping[str, int] | None) -> SemanticFlow:
    settings, codes, concepts = ground.settings, ground.codes, ground.train.concepts
    generator = generator_for(ground.seed, "partners")
    rows = torch.arange(len(ground.train))
    partners = {name: codes.mean[Pairing(c).draw(rows, generator)] for name, c in concepts.items()}
    dim = codes.mean.shape[1]
    if factor_sizes is None:
        most = {name: c.dimensions for name, c in concepts.items()}
        factor_sizes = estimate_factor_sizes(codes.mean, partners, most=most)
    sizes = {"residual": dim - sum(v for k, v in factor_sizes.items() if k != "residual"), **factor_sizes}
    e: SemanticFlow = _build(
        ground.seed, "e", lambda: SemanticFlow(settings.e.blocks(dim, seed=ground.seed), sizes, settings.rho)
    )
    unknown = set(e.concepts) - set(concepts)
    if unknown:
        raise SettingsError(f"No labels for {', '.join(sorted(unknown))}", expected=f"sizes for {', '.join(concepts)}")
    e.initialize(codes.sample(generator))
    held_out = (ground.held_out_codes, ground.held_out.concepts)
    for kind, task, how in (
        ("anchors", AnchorTask(e, codes, concepts, held_out), settings.fit_anchors),
        ("e", SemanticTask(e, codes, concepts, held_out), settings.fit_e),
    ):
        fit_or_load(task, how, path=ground.path(kind, sizes), seed=ground.seed, progress=ground.progress)
    return e


def _flow(
    ground: Groundwork, z: tuple[Tensor, Tensor], model_key: str, embedder: Embedder | None, title: str
) -> tuple[InvarianceFlow, bool]:
    """Train t on representations of the training images, judged by those of the held-out ones.

    Returns:
        t, and whether its training came to its own end.
    """
    settings, seed = ground.settings, ground.seed
    dim = ground.codes.mean.shape[1]

    def build() -> InvarianceFlow:
        h = embedder or settings.t.build_embedder(tuple(z[0].shape[1:]), dim)
        blocks = settings.t.blocks(dim, h.condition_dim, seed=seed)
        return InvarianceFlow(blocks, h, noise_floor=settings.noise_floor)

    t: InvarianceFlow = _build(seed, "t", build)
    rows = torch.randperm(len(z[0]), generator=generator_for(seed, "initialise"))[:4096]
    t.initialize(
        Posterior(ground.codes.mean[rows], ground.codes.std[rows]).sample(generator_for(seed, "t")),
        z[0][rows],
    )
    task = InvarianceTask(t, ground.codes, z[0], (ground.held_out_codes, z[1]), title)
    path = ground.path("t", model_key)
    result = fit_or_load(task, settings.fit_t, path=path, seed=seed, progress=ground.progress)
    return t, result.complete


def explain_each(
    ground: Groundwork,
    interpretee: Interpretee,
    layers: Sequence[str],
    *,
    embedder: Embedder | None = None,
    name: str = "",
) -> Iterator[Explanation]:
    """Explain layers of one model, one after the other, from one pass over the images."""
    model_key = fingerprint(interpretee.fingerprint(), [] if embedder is None else [repr(embedder), embedder.config])
    folders = {layer: ground.path("explanation", model_key, layer) for layer in layers}
    missing = [layer for layer, folder in folders.items() if folder is None or not folder.with_suffix("").exists()]
    z_train = represent_all(interpretee, missing, ground.train, progress=ground.progress) if missing else {}
    z_test = represent_all(interpretee, missing, ground.held_out, progress=ground.progress) if missing else {}
    for layer, folder in folders.items():
        if layer not in missing:
            assert folder is not None
            yield Explanation.load(
                folder.with_suffix(""), interpretee, autoencoder=ground.autoencoder, embedder=embedder
            )
            continue
        z = (z_train[layer], z_test[layer])
        _check_representation(layer, z[0])
        title = f"t of {name}{' ' if name else ''}{layer}"
        t, complete = _flow(ground, z, fingerprint(model_key, layer), embedder, title)
        nll = float(held_out_nll(t, ground.held_out_codes, z[1]).mean())
        prior, dim = ground.figures["nll_prior"], ground.codes.mean.shape[1]
        figures: dict[str, Any] = {**ground.figures, "nll": nll, "information": (prior - nll) * dim}
        if ground.train.concepts:
            seen = [t.perceive(part, generator_for(ground.seed, "probe", k)) for k, part in enumerate(z)]
            probes = probe(seen[0], ground.train.concepts, seen[1], ground.held_out.concepts)
            figures["probe"] = {name: vars(estimate) for name, estimate in probes.items()}
        kept = torch.linspace(0, len(ground.held_out) - 1, min(_KEPT, len(ground.held_out))).long()
        held_out = HeldOut(ground.held_out.take(kept), z[1][kept])
        protocol = _protocol(ground, t)
        found = Explanation(layer, ground.autoencoder, t, ground.e, held_out, figures, protocol, interpretee)
        figures["invariance"] = vars(found.invariance())
        figures["concepts"] = {name: vars(share) for name, share in found.concepts().items()}
        if folder is not None and complete:
            found.save(folder.with_suffix(""))
        yield found


def _check_representation(layer: str, z: Tensor) -> None:
    bad = int((~z.isfinite().flatten(1).all(1)).sum())
    if bad:
        raise LayerError(
            f"The representation at '{layer}' is not finite for {bad} of {len(z)} images",
            expected="finite numbers",
            hint="Check the model's weights and preprocessing; in half precision, use float32.",
        )


def _protocol(ground: Groundwork, t: InvarianceFlow) -> dict[str, Any]:
    return {
        "scaling of z": "centred per element, one scale for all",
        "noise floor": f"{ground.settings.noise_floor} of z's total standard deviation",
        "embedder H": type(t.embedder).__name__,
        "training images": len(ground.train),
        "held-out images": len(ground.held_out),
        "seed": ground.seed,
        "factors": None if ground.e is None else ground.e.factors,
        "settings": asdict(ground.settings),
        "versions": {name: version(name) for name in ("invkit", "torch", "torchvision", "numpy")},
    }


def explain(
    model: nn.Module | Interpretee,
    layer: str | nn.Module,
    data: Any,
    *,
    concepts: Mapping[str, Any] | None = None,
    groups: Any = None,
    held_out: Any = None,
    size: int | None = None,
    preprocess: Callable[[Tensor], Tensor] | None = None,
    autoencoder: Autoencoder | None = None,
    embedder: Embedder | None = None,
    factor_sizes: Mapping[str, int] | None = None,
    settings: Settings | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
    progress: bool = True,
) -> Explanation:
    """Show what a layer of a network represents and what it throws away (paper, sec. 3).

    Args:
        model: any `nn.Module` that takes images, or an :class:`Interpretee`.
        layer: the module itself, or its address: ``features.11``, ``block@1``, ``encoder[0]``, ``input``.
        data: a folder, a data set, a loader, an array or tensor of images; see :func:`invkit.as_image_set`.
        concepts: labels by name: classes, numbers or colours, in the order of the images.
        groups: images of one group stay together when some are held out.
        held_out: images to judge by; None holds out a share of the data.
        size: side of the images in pixels; None for their own, 28 to 64.
        preprocess: from images in [0, 1] to the model's input; None if the model takes [0, 1].
        autoencoder: a trained one; None trains one on the data.
        embedder: H; None chooses by the representation's shape.
        factor_sizes: dimensions of e by concept; None estimates them.
        settings: None for the default, `Settings.quick()` for a first look, `Settings.paper()` for the paper's.
        seed: of every draw.
        cache: folder in which trained parts are kept and found again, and runs that were cut short resumed.
        progress: show it.

    Returns:
        the explanation, whose `figures` are all held out: `nll` and `nll_prior`, −log p(z̄ | z) and −log p(z̄)
        in nats per dimension; `information`, their difference in nats; `psnr` of reconstructions in dB; `probe`,
        R² of a ridge regression of each concept from z with its standard error.

    Raises:
        LayerError: an unknown layer, one that never fires or gives nothing usable.
        DataError: images or labels that can't be used, or too few.
        SettingsError: settings that don't fit the data.
        TrainingError: training diverged.
    """
    interpretee = as_interpretee(model, preprocess)
    address = _addresses(interpretee, [layer])
    _check_layers(interpretee, address, data, size)
    ground = lay_groundwork(
        data,
        concepts=concepts,
        groups=groups,
        held_out=held_out,
        size=size,
        autoencoder=autoencoder,
        factor_sizes=factor_sizes,
        settings=settings,
        seed=seed,
        cache=cache,
        progress=progress,
    )
    return next(explain_each(ground, interpretee, address, embedder=embedder))


def profile(
    model: nn.Module | Interpretee | Mapping[str, nn.Module | Interpretee],
    layers: str | nn.Module | Sequence[str | nn.Module],
    data: Any,
    *,
    preprocess: Callable[[Tensor], Tensor] | None = None,
    **options: Any,
) -> Profile:
    """Explain many layers of a model, or a layer of many checkpoints, on the same footing.

    Args:
        model: a model, or several by name (checkpoints of one, for instance), in the order of the curve.
        layers: addresses, modules or globs, in the order of the curve.
        data: as in :func:`explain`.
        preprocess: as in :func:`explain`, for all models.
        options: all others of :func:`explain`.

    Raises:
        InvkitError: as :func:`explain`.
    """
    models = model if isinstance(model, Mapping) else {"": model}
    wanted = [layers] if isinstance(layers, (str, nn.Module)) else list(layers)
    interpretees = {name: as_interpretee(m, preprocess) for name, m in models.items()}
    addresses = {name: _addresses(i, wanted) for name, i in interpretees.items()}
    for name, interpretee in interpretees.items():
        _check_layers(interpretee, addresses[name], data, options.get("size"))
    embedder = options.pop("embedder", None)
    ground = lay_groundwork(data, **options)
    found: dict[str, Explanation] = {}
    for name, interpretee in interpretees.items():
        for explanation in explain_each(ground, interpretee, addresses[name], embedder=embedder, name=name):
            several = len(addresses[name]) > 1
            label = " ".join(part for part in (name, explanation.layer if several or not name else "") if part)
            found[label] = explanation
            say(f"{label}: invariance {explanation.invariance()}", show=ground.progress)
    return Profile(found, axis="checkpoint" if isinstance(model, Mapping) else "layer")


def _addresses(interpretee: Interpretee, layers: Sequence[str | nn.Module]) -> list[str]:
    if isinstance(interpretee, ModuleInterpretee):
        return interpretee.expand(layers)
    return [layer if isinstance(layer, str) else str(layer) for layer in layers]


def _check_layers(interpretee: Interpretee, layers: Sequence[str], data: Any, size: int | None) -> None:
    """Run the model on one grey image, so that a bad layer is told before any long work."""
    side = data.size if isinstance(data, ImageSet) else size or 64
    for layer, z in interpretee.represent(torch.full((2, 3, side, side), 0.5), layers).items():
        if z.ndim < 2 or len(z) != 2:
            raise LayerError(
                f"The output at '{layer}' has no batch axis",
                expected="(B, …), one representation for each image",
                got=f"shape {tuple(z.shape)} for 2 images",
            )

"""The recipe: from images, a model and a layer to an explanation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from invkit.autoencoders import TrainedAutoencoder, as_autoencoder
from invkit.core import Autoencoder, Interpretee
from invkit.data import Rows, evenly_spaced, represent_all
from invkit.errors import ArtefactError, LayerError
from invkit.evaluation import PROBED, probe
from invkit.explainer import Groundwork, train_t, train_together
from invkit.explainer.preparation import addresses_in, prepare, read_held_out, read_images
from invkit.explanation import Explanation, HeldOut
from invkit.explanation.profile import Profile
from invkit.flows import Embedder, InvarianceFlow
from invkit.interpretees import as_interpretee
from invkit.settings import Settings
from invkit.training import held_out_nll
from invkit.utils import distributed
from invkit.utils.io import clear_partials, content_hash, file_lock
from invkit.utils.progress import log
from invkit.utils.random import generator_for
from invkit.utils.resources import rows_in_memory

__all__ = ["explain", "explain_each", "explanation_of", "model_key", "profile", "representations"]


def explain_each(
    ground: Groundwork,
    interpretee: Interpretee,
    layers: Sequence[str],
    *,
    embedder: Embedder | None = None,
    name: str = "",
    z: Mapping[str, tuple[Rows, Rows]] | None = None,
) -> Iterator[Explanation]:
    """Explain layers of one model, one after the other, from one pass over the images.

    Args:
        ground: what all layers share.
        interpretee: the model.
        layers: addresses.
        embedder: H, of which each layer trains a copy.
        name: of the model, shown with the progress.
        z: what :func:`representations` gave, where somebody needed it before.
    """
    key = model_key(interpretee, embedder)
    together = [[*layers]] if ground.settings.amortised and len(layers) > 1 else []
    folders = {layer: _folder(ground, key, layer, *together) for layer in layers}
    kept = {layer: _kept(ground, interpretee, folder, embedder) for layer, folder in folders.items()}
    missing = distributed.broadcast([layer for layer, found in kept.items() if found is None])
    if together and missing:
        missing = [*folders]
    z_of = representations(ground, interpretee, missing) if z is None else {layer: z[layer] for layer in missing}
    trained = _each_t(ground, z_of, key, embedder, f"t of {name}{' ' if name else ''}")
    for layer, found in kept.items():
        if layer in missing:
            t, complete = next(trained)
            behind = replace(ground, complete=ground.complete and complete)
            found = explanation_of(behind, interpretee, layer, t, z_of.pop(layer))
            folder = folders[layer]
            if folder is not None and complete and distributed.is_main():
                with file_lock(folder):
                    clear_partials(folder, "*")
                    found.save(folder)
            yield found
        elif found is not None:
            yield found


def model_key(interpretee: Interpretee, embedder: Embedder | None) -> str:
    """Return the hash of a model and of the user's own H, to name files after."""
    own_h = [] if embedder is None else [repr(embedder), embedder.config, embedder.state_dict()]
    return content_hash(interpretee.fingerprint(), *own_h)


def representations(
    ground: Groundwork, interpretee: Interpretee, layers: Sequence[str]
) -> dict[str, tuple[Rows, Rows]]:
    """Return by layer z of the training and of the held-out images, from one pass, in files where there is a cache."""
    weights = interpretee.fingerprint()
    train, held_out = (
        represent_all(
            interpretee,
            layers,
            part,
            ground.folder("representations", weights, name),
        )
        for name, part in (("train", ground.train), ("held-out", ground.held_out))
    )
    return {layer: (train[layer], held_out[layer]) for layer in layers}


def _each_t(
    ground: Groundwork, z: Mapping[str, tuple[Rows, Rows]], key: str, embedder: Embedder | None, title: str
) -> Iterator[tuple[InvarianceFlow, bool]]:
    """Train t of one layer after the other, or of all together; give each, and whether its training is complete."""
    if ground.settings.amortised and len(z) > 1:
        found, complete = train_together(ground, z, key, embedder, f"{title}all layers")
        yield from ((t, complete) for t in found.values())
    else:
        for layer in [*z]:
            yield train_t(ground, z[layer], content_hash(key, layer), embedder, f"{title}{layer}")


def _kept(
    ground: Groundwork, interpretee: Interpretee, folder: Path | None, embedder: Embedder | None
) -> Explanation | None:
    """Load an explanation that was made earlier; None where there is none, or a damaged one."""
    if folder is None or not (folder / "manifest.json").exists():
        return None
    try:
        return Explanation.load(folder, interpretee, autoencoder=ground.autoencoder, embedder=embedder)
    except ArtefactError as error:
        log(f"{error.what}; it is made again")
        return None


def _folder(ground: Groundwork, key: str, layer: str, *more: Any) -> Path | None:
    """Where an explanation is kept, named after all that decides it."""
    decisive: list[Any] = [asdict(ground.settings), *ground.labels, *more]
    if ground.held_out.groups is not None:
        decisive.append(ground.held_out.groups)  # standard errors go over them
    if ground.e is not None:
        decisive += [ground.e.state_dict(), [*ground.e.factors.items()]]
    return ground.folder("explanation", key, layer, *decisive)


def explanation_of(
    ground: Groundwork, interpretee: Interpretee, layer: str, t: InvarianceFlow, z: tuple[Rows, Rows]
) -> Explanation:
    """Put an explanation together with its held-out figures; `z` is of training and of held-out images."""
    nll = float(held_out_nll(t, ground.held_out_codes, z[1]).mean())
    prior, dim = ground.figures["nll_prior"], ground.codes.mean.shape[1]
    figures: dict[str, Any] = {**ground.figures, "nll": nll, "information": (prior - nll) * dim}
    train, test = ground.train, ground.held_out
    if train.concepts:
        most = rows_in_memory(PROBED, z[0].shape[1:])
        rows, judged = evenly_spaced(len(train), most), evenly_spaced(len(test), most)
        parts = enumerate((z[0][rows], z[1][judged]))
        seen = [t.perceive(part, generator_for(ground.seed, "probe", k)) for k, part in parts]
        known = {name: concept.take(rows) for name, concept in train.concepts.items()}
        few = test.take(judged)
        probes = probe(seen[0], known, seen[1], few.concepts, few.groups)
        figures["probe"] = {name: vars(estimate) for name, estimate in probes.items()}
    held_out = HeldOut.of(test, z[1])
    protocol = {**_protocol(ground, t), "images behind eq. 19 and 20": len(held_out.data)}
    found = Explanation(layer, ground.autoencoder, t, ground.e, held_out, figures, protocol, interpretee)
    figures["invariance"] = vars(found.invariance())
    figures["concepts"] = {name: vars(share) for name, share in found.concepts().items()}
    figures["fidelity"] = {
        name: value if isinstance(value, float) else vars(value) for name, value in found.fidelity().metrics.items()
    }
    figures["determined"] = {name: vars(share) for name, share in found.determined().items()}
    return found


def _protocol(ground: Groundwork, t: InvarianceFlow) -> dict[str, Any]:
    return {
        "scaling of z": "centred per element, one scale for all",
        "noise floor": f"{ground.settings.noise_floor} of z's total standard deviation",
        "embedder H": type(t.embedder).__name__,
        "autoencoder": ground.about,
        "training images": len(ground.train) // ground.settings.copies,
        "copies of each": ground.settings.copies,
        "held-out images": len(ground.held_out),
        "seed": ground.seed,
        **({} if ground.complete else {"training": "cut short"}),
        "factors": None if ground.e is None else ground.e.factors,
        "settings": asdict(ground.settings),
        "versions": {name: version(name) for name in ("invkit", "torch", "torchvision", "numpy")},
    }


def explain(
    model: str | nn.Module | Interpretee,
    layer: str | nn.Module,
    data: Any,
    *,
    concepts: Mapping[str, Any] | str | Path | None = None,
    groups: Any = None,
    held_out: Any = None,
    size: int | None = None,
    preprocess: Callable[[Tensor], Tensor] | None = None,
    autoencoder: Autoencoder | TrainedAutoencoder | str | Path | None = None,
    embedder: Embedder | None = None,
    factor_sizes: Mapping[str, int] | None = None,
    settings: Settings | str | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
) -> Explanation:
    """Show what a layer of a network represents and what it throws away (paper, sec. 3).

    Args:
        model: any `nn.Module` that takes images, a plugin's name (``timm:resnet18``) or an :class:`Interpretee`.
        layer: the module itself, or its address: ``features.11``, ``block@1``, ``encoder[0]``, ``input``.
        data: a folder, a data set or its name, a loader, an array or tensor of images; see :func:`invkit.as_image_set`.
        concepts: labels by name: classes, numbers or colours, in the order of the images; or a CSV file of the
            images in a folder.
        groups: images of one group stay together when some are held out.
        held_out: images to judge by; None holds out a share of the data.
        size: side of the images in pixels; None for their own, 28 to 64. Larger ones are for autoencoders that a GPU
            trained, or that others did.
        preprocess: from images in [0, 1] to the model's input; None for what plugins know of the model, and with a
            warning for [0, 1] itself where nobody knows.
        autoencoder: a trained one, its folder, or its name (``diffusers:autoencoder-tiny-64``); None trains one on the
            data and says before what it will cost, or takes the generator that made them.
        embedder: H; None chooses by the representation's shape.
        factor_sizes: dimensions of e by concept; None estimates them.
        settings: None for what suits the images (:meth:`Settings.for_images`: few photographs are mirrored and cropped,
            so give settings of your own where left and right matter), ``"quick"`` for a first look, ``"paper"`` for
            the paper's flows.
        seed: of every draw.
        cache: folder in which trained parts are kept and found again, and runs that were cut short resumed.

    Returns:
        the explanation, whose `metrics` are all held out: `nll` and `nll_prior`, −log p(z̄ | z) and −log p(z̄)
        in nats per dimension; `information`, their difference in nats; `psnr` of reconstructions in dB; `probe`,
        R² of a ridge regression of each concept from z with its standard error.

    Raises:
        LayerError: an unknown layer, one that never fires or gives nothing usable.
        DataError: images or labels that can't be used, or too few.
        SettingsError: settings that don't fit the data.
        TrainingError: training diverged.

    Ctrl-C ends the training that goes on then and keeps the best so far; the explanation's protocol says so.
    """
    interpretee = as_interpretee(model, preprocess)
    addresses = addresses_in(interpretee, [layer])
    if len(addresses) != 1:
        raise LayerError(
            f"'{layer}' names several layers",
            expected="one layer",
            got=", ".join(addresses),
            hint="invkit.profile explains several at once.",
        )
    found = profile(
        interpretee,
        addresses,
        data,
        concepts=concepts,
        groups=groups,
        held_out=held_out,
        size=size,
        autoencoder=autoencoder,
        embedder=embedder,
        factor_sizes=factor_sizes,
        settings=settings,
        seed=seed,
        cache=cache,
    )
    return found[addresses[0]]


def profile(
    model: str | nn.Module | Interpretee | Mapping[str, str | nn.Module | Interpretee],
    layers: str | nn.Module | Sequence[str | nn.Module],
    data: Any,
    *,
    concepts: Mapping[str, Any] | str | Path | None = None,
    groups: Any = None,
    held_out: Any = None,
    size: int | None = None,
    preprocess: Callable[[Tensor], Tensor] | None = None,
    autoencoder: Autoencoder | TrainedAutoencoder | str | Path | None = None,
    embedder: Embedder | None = None,
    factor_sizes: Mapping[str, int] | None = None,
    settings: Settings | str | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
) -> Profile:
    """Explain many layers of a model, or a layer of many checkpoints, on the same footing.

    Args:
        model: a model, or several by name (checkpoints of one, for instance), in the order of the curve.
        layers: addresses, modules or globs, in the order of the curve.
        data: this and all others as in :func:`explain`.
        concepts: labels by name.
        groups: of images that stay together.
        held_out: images to judge by.
        size: side of the images in pixels.
        preprocess: for all models.
        autoencoder: a trained one.
        embedder: H, for all layers; each trains a copy.
        factor_sizes: dimensions of e by concept.
        settings: all, or the name of a preset.
        seed: of every draw.
        cache: folder of trained parts.

    Raises:
        InvkitError: as :func:`explain`.
    """
    models = model if isinstance(model, Mapping) else {"": model}
    wanted = [layers] if isinstance(layers, (str, nn.Module)) else list(layers)
    interpretees = {name: as_interpretee(m, preprocess) for name, m in models.items()}
    subjects = {name: (i, addresses_in(i, wanted)) for name, i in interpretees.items()}
    autoencoder = as_autoencoder(autoencoder)
    images = read_images(data, autoencoder, settings, size=size, concepts=concepts, groups=groups)
    ground = prepare(
        [*subjects.values()],
        images,
        held_out=read_held_out(held_out, images),
        autoencoder=autoencoder,
        embedder=embedder,
        factor_sizes=factor_sizes,
        settings=settings,
        seed=seed,
        cache=cache,
    )
    found: dict[str, Explanation] = {}
    for name, (interpretee, addresses) in subjects.items():
        for explanation in explain_each(ground, interpretee, addresses, embedder=embedder, name=name):
            several = len(addresses) > 1
            label = " ".join(part for part in (name, explanation.layer if several or not name else "") if part)
            found[label] = explanation
            log(f"{label}: invariance {explanation.invariance()}")
    return Profile(found, axis="checkpoint" if isinstance(model, Mapping) else "layer")

"""An Explainer as a folder of safetensors and JSON; nothing in it executes when loaded."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor, nn

from invkit.autoencoders import AutoencoderSettings, describe, is_built_in, rebuild
from invkit.core import Autoencoder
from invkit.data import ImageSet, as_image_set
from invkit.data.tensors import images_from_tensors, images_to_tensors
from invkit.errors import ArtefactError, DataError
from invkit.flows import InvarianceFlow, SemanticFlow
from invkit.settings import Settings
from invkit.utils.io import content_hash, write_tensors
from invkit.utils.manifest import read_checked_tensors, read_manifest, write_manifest

if TYPE_CHECKING:
    from invkit.explainer.explainer import Explainer

__all__ = ["MANIFEST", "load_explainer", "save_explainer"]

MANIFEST, _FORMAT = "explainer.json", 1
_Found = TypeVar("_Found", bound="Explainer")


def save_explainer(explainer: Explainer, folder: Path, images: bool) -> Path:
    """Write weights.safetensors, images.safetensors and explainer.json, which comes last."""
    autoencoder = explainer.autoencoder
    modules: dict[str, nn.Module | None] = {"prior": explainer.prior, "e": explainer.e}
    modules |= {"autoencoder": autoencoder} if is_built_in(autoencoder) else {}
    weights = {f"{part}/{k}": v for part, m in modules.items() if m is not None for k, v in m.state_dict().items()}
    stored: dict[str, Tensor] = {}
    concepts: dict[str, Any] = {}
    for name, data in (("train", explainer.train), ("held_out", explainer.held_out)):
        tensors, concepts[name] = images_to_tensors(data, autoencoder)
        if images or name == "held_out":
            stored |= {f"{name}/{key}": value for key, value in tensors.items()}
    write_tensors(folder / "weights.safetensors", weights)
    write_tensors(folder / "images.safetensors", stored)
    trained_by = explainer.autoencoder_settings
    manifest = {
        "format": _FORMAT,
        "settings": explainer.settings.to_dict(),
        "seed": explainer.seed,
        "autoencoder": describe(autoencoder),
        "autoencoder weights": content_hash(autoencoder.state_dict()),
        "factors": None if explainer.e is None else explainer.e.factors,
        "autoencoder settings": None if trained_by is None else asdict(trained_by),
        "metrics": explainer.metrics,
        "complete": explainer.complete,
        "concepts": concepts,
        "training images": explainer.train.fingerprint(),
        "contents": {"weights": content_hash(weights), "images": content_hash(stored)},
    }
    write_manifest(folder / MANIFEST, manifest)
    return folder


def load_explainer(
    kind: type[_Found], folder: Path, images: Any, autoencoder: Autoencoder | None, cache: str | Path | None
) -> _Found:
    """Read what :func:`save_explainer` wrote, checked against its manifest; arguments as in :meth:`Explainer.load`."""
    manifest = read_manifest(folder / MANIFEST, "an Explainer", _FORMAT)
    weights, stored = (
        read_checked_tensors(folder / f"{name}.safetensors", manifest["contents"][name])
        for name in ("weights", "images")
    )
    autoencoder = autoencoder or rebuild(manifest["autoencoder"])
    if own := _of("autoencoder", weights):
        autoencoder.load_state_dict(own)
    if content_hash(autoencoder.state_dict()) != manifest["autoencoder weights"]:
        raise ArtefactError(
            "This Explainer was made with another autoencoder",
            expected=f"weights that hash to {manifest['autoencoder weights']}",
            got=content_hash(autoencoder.state_dict()),
        )
    settings, concepts = Settings.from_dict(manifest["settings"]), manifest["concepts"]
    held_out = images_from_tensors(_of("held_out", stored), concepts["held_out"], autoencoder)
    known = manifest["autoencoder settings"]
    trained_by = None if known is None else AutoencoderSettings.from_dict(known)
    train = _training_images(manifest, stored, images, held_out, autoencoder)
    found = kind.restored(train, held_out, autoencoder, settings, manifest["seed"], cache, trained_by)
    found.prior, found.e = _flows(settings, autoencoder, manifest["factors"], weights)
    found.metrics, found.complete = manifest["metrics"], manifest["complete"]
    return found


def _training_images(
    manifest: dict[str, Any], stored: dict[str, Tensor], given: Any, held_out: ImageSet, autoencoder: Autoencoder
) -> ImageSet | None:
    """Return the training images that were saved, or those that were passed; None without any."""
    concepts = manifest["concepts"]["train"]
    if tensors := _of("train", stored):
        return images_from_tensors(tensors, concepts, autoencoder)
    if given is None:
        return None
    train = as_image_set(given, size=held_out.size)
    if train.fingerprint() != manifest["training images"]:
        raise DataError(
            "These are not the training images of this Explainer",
            expected=f"images, concepts and groups that hash to {manifest['training images']}",
            got=train.fingerprint(),
            hint="Pass `explainer.train` of the Explainer that was saved.",
        )
    return train


def _flows(
    settings: Settings, autoencoder: Autoencoder, factors: dict[str, int] | None, weights: dict[str, Tensor]
) -> tuple[InvarianceFlow, SemanticFlow | None]:
    """Build the unconditional flow and e, with their weights."""
    code = autoencoder.latent_shape
    h = settings.t.build_embedder((1,), code)
    prior = InvarianceFlow(settings.t.blocks(code, h.condition_dim), h, noise_floor=settings.noise_floor)
    prior.load_state_dict(_of("prior", weights))
    e = None
    if factors is not None:
        e = SemanticFlow(settings.e.blocks(code), factors, settings.rho)
        e.load_state_dict(_of("e", weights))
        e.eval()
    return prior.eval(), e


def _of(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a part, without its prefix."""
    return {name.removeprefix(f"{part}/"): value for name, value in tensors.items() if name.startswith(f"{part}/")}

"""Saving an explanation as a folder of safetensors and JSON; loading executes nothing in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from invkit.autoencoders import TrainedAutoencoder, as_autoencoder, describe, is_built_in, rebuild
from invkit.core import Autoencoder, Embedder
from invkit.data.tensors import images_from_tensors, images_to_tensors
from invkit.errors import ArtefactError, InvkitError
from invkit.explanation.held_out import HeldOut
from invkit.flows import FlowSettings, InvarianceFlow, SemanticFlow
from invkit.interpretees import as_interpretee
from invkit.utils.io import content_hash, write_tensors
from invkit.utils.manifest import read_checked_tensors, read_manifest, write_manifest

if TYPE_CHECKING:
    from invkit.explanation.explanation import Explanation

__all__ = ["load_parts", "save_explanation"]

_FORMAT = 4


def save_explanation(explanation: Explanation, folder: Path) -> Path:
    """Write manifest.json, weights.safetensors and held_out.safetensors; the manifest comes last."""
    autoencoder = explanation.autoencoder
    parts = {"autoencoder": autoencoder if is_built_in(autoencoder) else None, "t": explanation.t, "e": explanation.e}
    weights = {f"{part}/{k}": v for part, m in parts.items() if m is not None for k, v in m.state_dict().items()}
    held_out, concepts = images_to_tensors(explanation.held_out.data, autoencoder)
    held_out["z"] = explanation.held_out.z
    write_tensors(folder / "weights.safetensors", weights)
    write_tensors(folder / "held_out.safetensors", held_out)
    e = explanation.e
    manifest = {
        "format": _FORMAT,
        "layer": explanation.layer,
        "model": None if explanation.interpretee is None else explanation.interpretee.fingerprint(),
        "autoencoder": describe(autoencoder),
        "autoencoder weights": content_hash(autoencoder.state_dict()),
        "t": {
            "shape": list(explanation.t.mean.shape),
            "noise_floor": explanation.t.noise_floor,
            "embedder": type(explanation.t.embedder).__name__,
        },
        "e": None if e is None else {"factors": e.factors, "rho": e.rho},
        "concepts": concepts,
        "metrics": explanation.metrics,
        "protocol": explanation.protocol,
        "contents": {"weights": content_hash(weights), "held_out": content_hash(held_out)},
    }
    write_manifest(folder / "manifest.json", manifest)
    return folder


def load_parts(
    folder: Path,
    model: Any = None,
    *,
    autoencoder: Autoencoder | TrainedAutoencoder | str | Path | None = None,
    embedder: Callable[..., Embedder] | None = None,
    preprocess: Any = None,
) -> dict[str, Any]:
    """Read and check a folder written by :func:`save_explanation`; return the arguments of `Explanation`."""
    manifest = read_manifest(folder / "manifest.json", "an explanation", _FORMAT)
    weights, held_out = (
        read_checked_tensors(folder / f"{name}.safetensors", manifest["contents"][name])
        for name in ("weights", "held_out")
    )
    found, t, e = _models(manifest, weights, autoencoder, embedder)
    return {
        "layer": manifest["layer"],
        "autoencoder": found,
        "t": t,
        "e": e,
        "held_out": HeldOut(images_from_tensors(held_out, manifest["concepts"], found), held_out["z"]),
        "metrics": manifest["metrics"],
        "protocol": manifest["protocol"],
        "interpretee": _same_model(model, preprocess, manifest["model"]),
    }


def _models(
    manifest: dict[str, Any], weights: dict[str, Tensor], given: Any, embedder: Callable[..., Embedder] | None
) -> tuple[Autoencoder, InvarianceFlow, SemanticFlow | None]:
    """Build the autoencoder, t and e, and load their weights."""
    own = given is None
    autoencoder = as_autoencoder(given) or _rebuilt(manifest["autoencoder"])
    if not own and content_hash(autoencoder.state_dict()) != manifest["autoencoder weights"]:
        raise ArtefactError(
            "This explanation was made with another autoencoder",
            expected=f"weights that hash to {manifest['autoencoder weights']}",
            got=content_hash(autoencoder.state_dict()),
        )
    settings, shape = manifest["protocol"]["settings"], tuple(manifest["t"]["shape"])
    code = autoencoder.latent_shape
    how = FlowSettings(**settings["t"])
    h = _embedder(how if embedder is None else replace(how, embedder=embedder), shape, code)
    if h is None or type(h).__name__ != manifest["t"]["embedder"]:
        raise ArtefactError(
            "This explanation was made with a custom embedder",
            expected=f"Explanation.load(folder, embedder=...), which builds a {manifest['t']['embedder']}",
            got=type(h).__name__,
        )
    blocks = how.blocks(code, h.condition_dim)
    t = InvarianceFlow(blocks, h, noise_floor=manifest["t"]["noise_floor"])
    e = None
    if manifest["e"] is not None:
        blocks = FlowSettings(**settings["e"]).blocks(code)
        e = SemanticFlow(blocks, manifest["e"]["factors"], manifest["e"]["rho"])
    for part, module in (("autoencoder", autoencoder if own else None), ("t", t), ("e", e)):
        if module is not None:
            module.load_state_dict({k.partition("/")[2]: v for k, v in weights.items() if k.startswith(part + "/")})
            module.eval()
    return autoencoder.eval(), t, e


def _embedder(settings: FlowSettings, shape: tuple[int, ...], code: tuple[int, ...]) -> Embedder | None:
    """Build H; None if the settings name one that is not registered."""
    try:
        return settings.build_embedder(shape, code)
    except InvkitError:
        return None


def _rebuilt(description: dict[str, Any]) -> Autoencoder:
    try:
        return rebuild(description)
    except ArtefactError as error:
        raise ArtefactError(
            "This explanation was made with a custom autoencoder",
            expected="Explanation.load(folder, autoencoder=...)",
            got=description["class"],
        ) from error


def _same_model(model: Any, preprocess: Any, expected: str | None) -> Any:
    if model is None:
        return None
    interpretee = as_interpretee(model, preprocess)
    if expected is not None and interpretee.fingerprint() != expected:
        raise ArtefactError(
            "This explanation is of another model",
            expected=f"weights and preprocessing that hash to {expected}",
            got=interpretee.fingerprint(),
            hint="Pass the model that was explained, with the same `preprocess`.",
        )
    return interpretee

"""Networks from a folder, from the hub, or with random weights."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from torch import Tensor

from invkit.errors import ArtefactError, InvkitError
from invkit.interpretees import fit_weights, hub_file, read_weights
from invkit.utils.io import read_json
from invkit_diffusers.autoencoder import DiffusersAutoencoder
from invkit_diffusers.codebook import scatter
from invkit_diffusers.published import PUBLISHED

__all__ = ["load"]

_HUB = "hf-hub:"
_CONFIG = "config.json"
_WEIGHTS = tuple(f"diffusion_pytorch_model.{end}" for end in ("safetensors", "bin", "fp16.safetensors"))
#: former names of the attention layers, which many published files have; diffusers renames them when it loads them
_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def load(family: str, image_size: int, weights: str | None, *, local_files_only: bool = False) -> DiffusersAutoencoder:
    """Load an autoencoder in evaluation mode, in float32.

    Args:
        family: a key of :data:`invkit_diffusers.published.PUBLISHED`.
        image_size: side of the images in pixels.
        weights: None for the default ones from the hub; ``random``, with the config of those, drawn from torch's
            global generator; a folder as `save_pretrained` writes it, of the network or of a pipeline that has it;
            or ``hf-hub:owner/name`` of the same, followed by ``@revision`` if it is not the newest.
        local_files_only: never download; HF_HUB_OFFLINE is honoured in any case.

    Raises:
        ArtefactError: no such weights, a config of another class or of none, or weights that don't fit it.
        SettingsError: the side of the images does not fit, or the network is not of RGB images.
    """
    published = PUBLISHED[family]
    if weights == "random":
        autoencoder = DiffusersAutoencoder({"_class_name": published.class_name, **published.config}, image_size)
        if published.class_name == "VQModel":
            scatter(autoencoder.network)
        return autoencoder.eval()
    folders = published.folders
    if weights is None:
        weights, folders = _HUB + published.repository, (published.folder,)
    config = _find_config(weights, folders, local_files_only)
    autoencoder = _built(config, published.class_name, image_size)  # raises for a wrong size before the long download
    state = read_weights(_find_weights(weights, config, folders, local_files_only))
    fit_weights(autoencoder.network, _renamed(state), weights)
    return autoencoder.eval()


def _find_config(weights: str, folders: Sequence[str], local_files_only: bool) -> Path:
    if weights.startswith(_HUB):
        files = [str(PurePosixPath(folder, _CONFIG)) for folder in folders]
        return hub_file(weights.removeprefix(_HUB), files, local_files_only=local_files_only)
    for folder in folders:
        path = Path(weights, folder, _CONFIG)
        if path.is_file():
            return path
    raise ArtefactError(
        f"No network in {weights}",
        expected=f"a folder with {' or '.join(str(PurePosixPath(folder, _CONFIG)) for folder in folders)}",
        got=_content(Path(weights)),
        hint="One on the hub is hf-hub:owner/name; weights='random' needs none.",
    )


def _find_weights(weights: str, config: Path, folders: Sequence[str], local_files_only: bool) -> Path:
    """Return the file of weights next to a config."""
    if weights.startswith(_HUB):
        folder = config.parent.name if config.parent.name in folders else ""
        files = [str(PurePosixPath(folder, name)) for name in _WEIGHTS]
        return hub_file(weights.removeprefix(_HUB), files, local_files_only=local_files_only)
    for name in _WEIGHTS:
        if (config.parent / name).is_file():
            return config.parent / name
    raise ArtefactError(f"No weights in {config.parent}", expected=" or ".join(_WEIGHTS), got=_content(config.parent))


def _content(folder: Path) -> str:
    if not folder.is_dir():
        return "a file" if folder.exists() else "no such folder"
    return ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "an empty folder"


def _built(config: Path, class_name: str, image_size: int) -> DiffusersAutoencoder:
    options = read_json(config)
    found = options.get("_class_name") if isinstance(options, dict) else None
    if found != class_name:
        raise ArtefactError(
            f"{config} is of another class",
            expected=f'"_class_name": "{class_name}"',
            got=found,
            hint="autoencoder-kl-* reads AutoencoderKL, autoencoder-tiny-* AutoencoderTiny, vq-model-* VQModel.",
        )
    try:
        return DiffusersAutoencoder(options, image_size)
    except InvkitError:
        raise
    except Exception as error:  # diffusers' constructors fail in any way on options that don't go together
        raise ArtefactError(
            f"diffusers cannot build the {class_name} of {config}", got=f"{type(error).__name__}: {error}"
        ) from error


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by their current names."""
    old = re.compile(rf"(?<=\.attentions\.)(\d+)\.({'|'.join(_OLD_NAMES)})\.")
    return {old.sub(lambda found: f"{found[1]}.{_OLD_NAMES[found[2]]}.", name): t for name, t in state.items()}

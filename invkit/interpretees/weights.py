"""Weights from a file, a folder or the Hugging Face hub; nothing that is loaded can execute code."""

from __future__ import annotations

import json
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from invkit.errors import ArtefactError
from invkit.serialize import read_tensors

__all__ = ["load_weights", "read_weights"]

_NAMES = ("model.safetensors", "pytorch_model.bin", "model.pth", "model.pt")


def read_weights(source: str | Path, *, local_files_only: bool = False) -> dict[str, Tensor]:
    """Read a state dict.

    Args:
        source: a .safetensors, .pt, .pth or .bin file; a folder with one of them; ``hf-hub:owner/name`` or
            ``hf-hub:owner/name/file``.
        local_files_only: never download; the hub's own cache and environment variables (HF_HUB_OFFLINE) are honoured
            in any case.

    Raises:
        ArtefactError: nothing there, damaged, or a file that would execute code.
    """
    text = str(source)
    path = _from_hub(text.removeprefix("hf-hub:"), local_files_only) if text.startswith("hf-hub:") else Path(source)
    if path.is_dir():
        found = [path / name for name in _NAMES if (path / name).exists()] or sorted(path.glob("*.safetensors"))
        if not found:
            raise ArtefactError(f"No weights in {path}", expected=" or ".join(_NAMES), got="none of them")
        path = found[0]
    if path.suffix == ".safetensors":
        return read_tensors(path)[0]
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ArtefactError(
            f"No weights at {path}",
            expected="a file, a folder, or hf-hub:owner/name",
            got="no such file",
            hint="Download the file and pass its path as `weights`, or pass weights='random'.",
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, UnpicklingError) as error:
        raise ArtefactError(
            f"Cannot read the weights in {path}",
            expected="tensors, as torch.save or safetensors writes them",
            got=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
        ) from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ArtefactError(f"No state dict in {path}", expected="tensors by name", got=type(content).__name__)
    return {key.removeprefix("module."): value for key, value in content.items()}


def load_weights(module: nn.Module, source: str | Path, *, local_files_only: bool = False) -> None:
    """Read a state dict into a module; arguments and errors as of :func:`read_weights`.

    Raises:
        ArtefactError: also where keys or shapes don't fit.
    """
    try:
        module.load_state_dict(read_weights(source, local_files_only=local_files_only))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:4]]
        raise ArtefactError(
            f"The weights in {source} do not fit {type(module).__name__}", got=json.dumps(lines)[1:-1]
        ) from error


def _from_hub(name: str, local_files_only: bool) -> Path:
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError as error:
        raise ArtefactError("Weights from the hub need huggingface_hub", hint="pip install huggingface_hub.") from error
    owner, _, rest = name.partition("/")
    repository, _, file = rest.partition("/")
    last: Exception | None = None
    for candidate in [file] if file else _NAMES:
        try:
            return Path(hf_hub_download(f"{owner}/{repository}", candidate, local_files_only=local_files_only))
        except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
            last = error
    from huggingface_hub.constants import HF_HUB_CACHE

    raise ArtefactError(
        f"Cannot get {name} from the hub",
        expected=f"a connection, or the file in {HF_HUB_CACHE}",
        got=f"{type(last).__name__}",
        hint="Fetch it once while online, or pass the path of a local file or folder.",
    ) from last

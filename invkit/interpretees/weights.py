"""Weights from a file, a folder or the Hugging Face hub; loading never executes code."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from invkit.errors import ArtefactError
from invkit.interpretees.wrapped import bare
from invkit.utils.io import read_tensors

__all__ = ["fit_weights", "hub_file", "load_weights", "published_weights", "read_weights"]

_NAMES = ("model.safetensors", "weights.safetensors", "pytorch_model.bin", "model.pth", "model.pt")
#: prefixes that torch.compile and DataParallel, in either order, put before the names of tensors
_WRAPPED = re.compile(r"^(?:_orig_mod\.)?(?:module\.)?(?:_orig_mod\.)?")


def read_weights(source: str | Path, *, local_files_only: bool = False) -> dict[str, Tensor]:
    """Read a state dict.

    Args:
        source: a .safetensors, .pt, .pth or .bin file; a folder with one of them; ``hf-hub:owner/name`` or
            ``hf-hub:owner/name/file``, each with ``@revision`` after the name for a revision other than the newest.
        local_files_only: never download. The hub's own cache and environment variables (HF_HUB_OFFLINE) are always
            respected.

    Raises:
        ArtefactError: no such file, a damaged one, or one that would execute code.

    Example:
        >>> import tempfile
        >>> from torch import nn
        >>> with tempfile.NamedTemporaryFile(suffix=".pt") as file:
        ...     torch.save(nn.Linear(2, 3).state_dict(), file.name)
        ...     weights = read_weights(file.name)
        >>> {name: tuple(tensor.shape) for name, tensor in weights.items()}
        {'weight': (3, 2), 'bias': (3,)}
    """
    text = str(source)
    path = Path(source)
    if text.startswith("hf-hub:"):
        named = re.fullmatch(r"hf-hub:([^/]+/[^/]+)(?:/(.+))?", text)
        if named is None:
            raise ArtefactError(
                f"'{text}' is not a name on the hub", expected="hf-hub:owner/name or hf-hub:owner/name/file"
            )
        repository, file = named.groups()
        path = hub_file(repository, [file] if file else _NAMES, local_files_only=local_files_only)
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
    except Exception as error:  # bytes that are no pickle can raise anything
        raise _unreadable(path, error) from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ArtefactError(f"No state dict in {path}", expected="tensors by name", got=type(content).__name__)
    return {_WRAPPED.sub("", key): value for key, value in content.items()}


def _unreadable(path: Path, error: Exception) -> ArtefactError:
    """Return the error for a file that torch cannot read, without torch's advice to let the file execute code."""
    reason = str(error).rpartition("WeightsUnpickler error:")[2].strip().partition("\n")[0]
    foreign = re.search(r"GLOBAL (\w\S*)", reason)
    return ArtefactError(
        f"Cannot read the weights in {path}",
        expected="tensors, as torch.save or safetensors writes them",
        got=f"{type(error).__name__}: {reason}" if foreign is None else f"Python objects beside tensors ({foreign[1]})",
        hint="" if foreign is None else "Load it where it was made, and save only its `state_dict()`.",
    )


def load_weights(module: nn.Module, source: str | Path, *, local_files_only: bool = False) -> None:
    """Load weights into a module.

    Args:
        module: as in :func:`fit_weights`.
        source: as in :func:`read_weights`.
        local_files_only: as in :func:`read_weights`.

    Raises:
        ArtefactError: as :func:`read_weights`, or keys or shapes do not fit.

    Example:
        >>> import tempfile
        >>> from torch import nn
        >>> module = nn.Linear(2, 3)
        >>> with tempfile.NamedTemporaryFile(suffix=".pt") as file:
        ...     torch.save(nn.Linear(2, 3).state_dict(), file.name)
        ...     load_weights(module, file.name)
    """
    fit_weights(module, read_weights(source, local_files_only=local_files_only), source)


def fit_weights(module: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Load a state dict into a module.

    The version of the layout is set to the module's current one (torchvision's MNASNet reads several): safetensors and
    plain dicts do not record it.

    Args:
        module: module to fill, possibly inside torch.compile or DataParallel.
        state: tensors by name.
        source: origin of the tensors, for the error message.

    Raises:
        ArtefactError: keys or shapes do not fit.

    Example:
        >>> from torch import nn
        >>> fit_weights(nn.Linear(2, 3), nn.Linear(2, 3).state_dict(), "a copy")
    """
    module, state = bare(module), OrderedDict(state)
    setattr(state, "_metadata", {"": {"version": module._version}})  # noqa: B010
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        lines = "; ".join(line.strip() for line in str(error).splitlines()[1:4])
        raise ArtefactError(f"The weights in {source} do not fit {type(module).__name__}", got=lines[:400]) from error


def published_weights(url: str, *, folder: Path | None = None, local_files_only: bool = False) -> Path:
    """Return the file of weights that a library publishes; download it if necessary.

    Args:
        url: address of the file; a hash at the end of its name (``-1a2b3c4d.pth``) is checked.
        folder: folder of the library's downloads; None for torch.hub's.
        local_files_only: never download.

    Raises:
        ArtefactError: the file does not exist and cannot be downloaded.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "net.pth").touch()
        ...     published_weights("https://example.org/net.pth", folder=Path(folder)).name
        'net.pth'
    """
    file = Path(folder or Path(torch.hub.get_dir(), "checkpoints"), Path(urlparse(url).path).name)
    if file.exists():
        return file
    problem: Exception | None = None
    if not local_files_only:
        digits = re.search(r"-([a-f0-9]{8,})\.", file.name)  # torch.hub's convention: first digits of the SHA-256
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), digits[1] if digits else None)
            return file
        except (OSError, HTTPException, RuntimeError) as error:  # offline, interrupted, or another hash
            problem = error
    raise ArtefactError(
        f"The weights {file.name} are not on this machine",
        expected=f"the file {file}",
        got="no such file, and no download allowed" if problem is None else f"{type(problem).__name__}: {problem}",
        hint=f"Fetch {url} and put it there, or pass the path of your copy as `weights`; weights='random' needs none.",
    ) from problem


def hub_file(name: str, files: Sequence[str], *, local_files_only: bool = False) -> Path:
    """Return the path of the first available file of a repository on the Hugging Face hub.

    Args:
        name: ``owner/name``, with ``@revision`` for a revision other than the newest.
        files: names of files in order of preference.
        local_files_only: never download; HF_HUB_OFFLINE is always respected.

    Raises:
        ArtefactError: none of them is available.

    Example:
        >>> hub_file("nobody/nothing", ["model.safetensors"], local_files_only=True)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        invkit.errors.ArtefactError: ...
    """
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.constants import HF_HUB_CACHE
        from huggingface_hub.errors import LocalEntryNotFoundError
    except ImportError as error:
        raise ArtefactError("Weights from the hub need huggingface_hub", hint="pip install huggingface_hub.") from error
    repository, _, revision = name.partition("@")
    last: Exception | None = None
    for file in files:
        try:
            return Path(hf_hub_download(repository, file, revision=revision or None, local_files_only=local_files_only))
        except Exception as error:  # errors of the hub and of its http library have no common class
            last = error
            if isinstance(error, LocalEntryNotFoundError):  # no connection: do not wait for the others
                local_files_only = True
    folder = Path(HF_HUB_CACHE, "models--" + repository.replace("/", "--"), "snapshots")
    raise ArtefactError(
        f"Cannot get {' or '.join(files)} of {name} from the hub",
        expected=f"a connection, or the file in the hub's cache {folder}",
        got=f"{type(last).__name__}: {str(last).splitlines()[0] if str(last) else ''}",
        hint="Fetch it once while online, or pass the path of a file or folder; weights='random' needs none.",
    ) from last

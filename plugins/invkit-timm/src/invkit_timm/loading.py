"""Build a timm model and load its weights, with a clear error if they cannot be found or downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from invkit.errors import ArtefactError
from invkit.interpretees import hub_file, published_weights, read_weights

__all__ = ["build"]

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_HINT = "Pass weights= the path of a file or folder, or weights='random'."


def build(name: str, weights: str | None, local_files_only: bool) -> nn.Module | None:
    """Build a model; arguments and errors as of :func:`invkit_timm.load_model`."""
    import timm

    source, _, identifier = name.partition(":")
    if source in ("hf-hub", "hf_hub"):
        folder = hub_file(identifier, ["config.json"], local_files_only=local_files_only).parent
        if weights is None:
            weights = str(hub_file(identifier, _WEIGHTS, local_files_only=local_files_only))
        name = f"local-dir:{folder}"
    elif source == "local-dir":
        weights = weights or identifier
    else:
        architecture = name.partition(".")[0]
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
        if weights in tags:
            name, weights = f"{architecture}.{weights}", None
        if not timm.is_model(architecture) or _published(name) is None:
            return None
        if weights is None:
            return _with_published(name, local_files_only)
        if weights != "random" and not weights.startswith("hf-hub:") and not Path(weights).exists():
            raise ArtefactError(
                f"No weights '{weights}' for {architecture}",
                expected=", ".join([*tags, "random", "a file, a folder or hf-hub:owner/name"]),
                got="neither a tag of timm nor a path",
            )
    model = _create(name)
    if weights == "random":
        return model
    return _fitted(name, model, read_weights(str(weights), local_files_only=local_files_only), str(weights))


def _published(name: str) -> Any:
    """Return timm's record of the weights of a name; None for an unknown name."""
    import timm

    try:
        return timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:
        return None


def _create(name: str, **options: Any) -> nn.Module:
    import timm

    try:
        return timm.create_model(name, **options)
    except (KeyError, FileNotFoundError, RuntimeError, ValueError) as error:
        if not name.startswith("local-dir:"):
            raise
        raise ArtefactError(
            f"{name} is no timm model",
            expected="a config.json with timm's `architecture` and `pretrained_cfg`",
            got=f"{type(error).__name__}: {error}",
        ) from error


def _with_published(name: str, local_files_only: bool) -> nn.Module:
    """Build a model with the weights that timm publishes, from the hub or else from their address."""
    from huggingface_hub import constants

    record = _published(name)
    if record.hf_hub_id:
        path = hub_file(record.hf_hub_id, _WEIGHTS, local_files_only=local_files_only)
        return _fitted(name, _create(name), read_weights(path), record.hf_hub_id)
    if not record.url:
        raise ArtefactError(
            f"timm publishes no weights for {name}",
            hint=_HINT,
        )
    published_weights(record.url, local_files_only=local_files_only or constants.HF_HUB_OFFLINE)
    return _create(name, pretrained=True)  # reads the downloaded file


def _fitted(name: str, model: nn.Module, state: dict[str, Tensor], source: str) -> nn.Module:
    """Load a state dict, converted by timm if it has another layout, such as that of a model's authors.

    Raises:
        ArtefactError: it fits neither as it is nor converted.
    """
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        overlay = {"state_dict": state, "source": None, "file": None}
        try:
            model = _create(name, pretrained=True, pretrained_cfg_overlay=overlay)
        except Exception as failure:  # the converters expect one layout and fail in any way on others
            misfits = [line.strip() for line in str(error).splitlines()[1:4]]
            raise ArtefactError(
                f"The weights of {source} do not fit {name}", got="; ".join(misfits), hint=_HINT
            ) from failure
        config: Any = model.pretrained_cfg
        config.pop("state_dict", None)  # a second copy of the weights
    return model

"""The autoencoders that the paper's authors released (edflow/autoencoders, `bigae_animals` and `bigae_animalfaces`)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from invkit.autoencoders.big import BigAutoencoder
from invkit.autoencoders.biggan import PLANS
from invkit.errors import ArtefactError
from invkit.interpretees import fit_weights

__all__ = ["from_released", "is_released"]

_PREFIXES = {
    "encoder.model.fc.sub_layers.0.": "trunk.fc.",
    "encoder.model.": "trunk.",
    "decoder.map_to_class_embedding.main.": "to_class.",
    "decoder.decoder.": "generator.",
}
_SIZES = {len(channels) - 1: size for size, (channels, _) in PLANS.items() if size in (64, 128, 256)}  # by blocks


def is_released(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the keys of the authors' autoencoder."""
    return "decoder.map_to_class_embedding.main.0.weight" in state


def from_released(state: Mapping[str, Tensor], source: str) -> BigAutoencoder:
    """Build the autoencoder of a released state dict, in evaluation mode.

    Sizes are inferred from the tensors. Images are normalised twice, as in the authors' code. An actnorm becomes the
    batch normalisation with fixed statistics that computes the same.

    Args:
        state: tensors by name: ``encoder.model.*``, ``decoder.map_to_class_embedding.*``, ``decoder.decoder.*``.
        source: its name in errors.

    Raises:
        ArtefactError: tensors are missing, too many or of other shapes.
    """
    ours = _without_actnorms(_renamed(state))
    try:
        size = _SIZES[_count(ours, "generator.GBlock.")]
        autoencoder = BigAutoencoder(
            image_size=size,
            latent_dim=ours["to_class.0.weight"].shape[1],
            width=len(ours["generator.ScaledCrossReplicaBN.weight"]) // PLANS[size][0][-1],
            encoder=_encoder(ours),
            classes=ours["generator.linear.weight"].shape[1],
            hidden=len(ours["to_class.0.weight"]),
            twice_normalised=True,
        )
    except KeyError as error:
        raise ArtefactError(
            f"The weights in {source} are no autoencoder of the authors' release", expected=str(error.args[0])
        ) from error
    ours["trunk.fc.weight"] = ours["trunk.fc.weight"].flatten(1)  # theirs is a 1×1 convolution
    fit_weights(autoencoder, ours, source)
    return autoencoder.eval()


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors; longer prefixes come first."""
    found = {}
    for name, value in state.items():
        prefix = next((p for p in _PREFIXES if name.startswith(p)), None)
        found[name if prefix is None else _PREFIXES[prefix] + name.removeprefix(prefix)] = value
    return found


def _without_actnorms(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Replace each scale · (x + loc) by a batch normalisation: mean −loc, variance 1 − ε, gain `scale`, no bias."""
    for norm in [name.removesuffix(".loc") for name in state if name.endswith(".loc")]:
        loc, scale = state.pop(f"{norm}.loc").flatten(), state.pop(f"{norm}.scale").flatten()
        state.pop(f"{norm}.initialized", None)
        epsilon = 1e-4 if norm.startswith("generator.") else 1e-5
        state |= {
            f"{norm}.running_mean": -loc,
            f"{norm}.running_var": torch.full_like(scale, 1 - epsilon),
            f"{norm}.weight": scale,
            f"{norm}.bias": torch.zeros_like(loc),
            f"{norm}.num_batches_tracked": torch.zeros((), dtype=torch.long),
        }
    return state


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({name.removeprefix(prefix).partition(".")[0] for name in state if name.startswith(prefix)})


def _encoder(state: Mapping[str, Tensor]) -> str:
    """Identify the ResNet by the blocks of its third stage, and by whether these have three convolutions."""
    deep = "trunk.layer1.0.conv3.weight" in state
    names = {(2, False): "resnet18", (6, False): "resnet34", (6, True): "resnet50", (23, True): "resnet101"}
    return names[(_count(state, "trunk.layer3."), deep)]

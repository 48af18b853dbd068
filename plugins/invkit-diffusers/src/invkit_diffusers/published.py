"""Published networks of each class: their repository on the hub and their config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["PUBLISHED", "Published"]


@dataclass(frozen=True)
class Published:
    """One class of diffusers.

    Attributes:
        class_name: as a config states it.
        repository: repository of the default weights on the hub.
        folder: their folder in it.
        folders: folders in which a network of this class may be, in any repository or pipeline.
        config: config of the default network, as published with its weights.
    """

    class_name: str
    repository: str
    folder: str
    folders: tuple[str, ...]
    config: Mapping[str, Any]


def _blocks(*channels: int) -> dict[str, Any]:
    """Return the options of an encoder and a decoder with these channels, from the largest to the smallest maps."""
    return {
        "block_out_channels": channels,
        "down_block_types": ("DownEncoderBlock2D",) * len(channels),
        "up_block_types": ("UpDecoderBlock2D",) * len(channels),
        "layers_per_block": 2,
        "norm_num_groups": 32,
        "sample_size": 256,
    }


#: by the first part of a name
PUBLISHED: Mapping[str, Published] = {
    # Stable Diffusion's, its decoder trained on by Stability AI for a small squared error; MIT
    "autoencoder-kl": Published(
        "AutoencoderKL",
        "stabilityai/sd-vae-ft-mse",
        "",
        ("", "vae"),
        {**_blocks(128, 256, 512, 512), "latent_channels": 4, "scaling_factor": 0.18215},
    ),
    # TAESD, distilled from it by Ollin Boer Bohan; MIT
    "autoencoder-tiny": Published(
        "AutoencoderTiny",
        "madebyollin/taesd",
        "",
        ("", "vae"),
        {
            "encoder_block_out_channels": (64, 64, 64, 64),
            "decoder_block_out_channels": (64, 64, 64, 64),
            "num_encoder_blocks": (1, 3, 3, 3),
            "num_decoder_blocks": (3, 3, 3, 1),
            "latent_channels": 4,
            "latent_magnitude": 3,
            "latent_shift": 0.5,
            "scaling_factor": 1.0,
        },
    ),
    # VQ-f4 of Rombach et al. (2022), trained on OpenImages; the faces are what the U-Net beside it draws; Apache 2.0
    "vq-model": Published(
        "VQModel",
        "CompVis/ldm-celebahq-256",
        "vqvae",
        ("", "vqvae", "movq"),
        {**_blocks(128, 256, 512), "latent_channels": 3, "num_vq_embeddings": 8192},
    ),
}

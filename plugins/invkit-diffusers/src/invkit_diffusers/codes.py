"""What differs between the classes: the shape of their codes, and how certain the encoder is of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from invkit.core import Posterior
from invkit_diffusers.codebook import neighbour_distance

__all__ = ["CODES", "Codes", "KLCodes", "TinyCodes", "VQCodes"]


class Codes(ABC):
    """How one class of diffusers makes codes; `config` is a network's, `network` is any of that class."""

    @abstractmethod
    def posterior(self, network: Any, images: Tensor) -> Posterior:
        """Return the distribution of codes (B, C, H, W), unscaled, of images (B, 3, S, S) in [−1, 1]."""

    def channels(self, config: Mapping[str, Any]) -> int:
        """Return C."""
        return int(config["latent_channels"])

    def factors(self, config: Mapping[str, Any]) -> tuple[int, int]:
        """Return how often smaller the codes' sides are than the images', and how often larger D makes them."""
        factor = 2 ** (len(config["block_out_channels"]) - 1)
        return factor, factor

    def shift_and_scale(self, config: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return what is taken off a code and what it is multiplied by then, for about unit variance; (), or (C, 1, 1).

        By channel where a config has `latents_mean` and `latents_std`, as diffusers' pipeline for SDXL does it.
        """
        scale = torch.tensor(float(config.get("scaling_factor") or 1))
        mean, std = config.get("latents_mean"), config.get("latents_std")
        if mean is not None and std is not None:
            return torch.tensor(mean).view(-1, 1, 1), scale / torch.tensor(std).view(-1, 1, 1)
        return torch.tensor(float(config.get("shift_factor") or 0)), scale


class KLCodes(Codes):
    """AutoencoderKL: the encoder gives mean and deviation itself."""

    def posterior(self, network: Any, images: Tensor) -> Posterior:
        """Return its `latent_dist`."""
        found = network.encode(images).latent_dist
        return Posterior(found.mean, found.std)


class TinyCodes(Codes):
    """AutoencoderTiny: its encoder is deterministic, and the deviation is that of rounding codes to 8 bits.

    Its `forward` rounds codes to 256 values in ±`latent_magnitude` (`scale_latents`), which its decoder bears without
    a visible difference. Values that fall anywhere within a step of 2 · magnitude / 255 deviate by step / √12.
    """

    def factors(self, config: Mapping[str, Any]) -> tuple[int, int]:
        """Each stage but one halves the sides, or multiplies them by `upsampling_scaling_factor`."""
        up = int(config["upsampling_scaling_factor"])
        return 2 ** (len(config["num_encoder_blocks"]) - 1), up ** (len(config["num_decoder_blocks"]) - 1)

    def posterior(self, network: Any, images: Tensor) -> Posterior:
        """Return a normal distribution about its codes."""
        mean = network.encode(images).latents
        step = 2 * network.config["latent_magnitude"] / 255
        return Posterior(mean, torch.full_like(mean, step / math.sqrt(12)))


class VQCodes(Codes):
    """VQModel: codes before they are quantised, which decoding does.

    The deviation at a position is a twentieth (`share`) of the distance between the entry that the code there is
    rounded to and the entry nearest to that one. A code that lies anywhere in a cell as wide as this distance leaves it
    on either side with a probability of 0.05 · √(2/π), 4 % for each dimension; on codebooks drawn at random in three
    dimensions 5 to 7 % of the positions change their entry. Training draws codes to their entries, where fewer do.

    Codes are not scaled: configs and pipelines of diffusers do not agree on a `scaling_factor` here (revisions of
    one published config have 1 and, by default, 0.18215).
    """

    share = 0.05

    def channels(self, config: Mapping[str, Any]) -> int:
        """`vq_embed_dim`, by default as many as the encoder's."""
        return int(config["vq_embed_dim"] or config["latent_channels"])

    def shift_and_scale(self, config: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Leave the codes as they are."""
        return torch.tensor(0.0), torch.tensor(1.0)

    def posterior(self, network: Any, images: Tensor) -> Posterior:
        """Return a normal distribution about its codes."""
        mean = network.encode(images).latents
        with torch.no_grad():
            entries = network.quantize(mean)[2][2]
            distance = neighbour_distance(network.quantize.embedding.weight, entries)
        std = self.share * distance.view(len(mean), 1, *mean.shape[2:])
        return Posterior(mean, std.expand_as(mean))


#: by the name of the class
CODES: Mapping[str, Codes] = {"AutoencoderKL": KLCodes(), "AutoencoderTiny": TinyCodes(), "VQModel": VQCodes()}

"""Codes of each class of diffusers: their shape, scale and standard deviation."""

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
    """The codes of one class of diffusers; `network` is a network of this class, `config` its config."""

    @abstractmethod
    def posterior(self, network: Any, images: Tensor) -> Posterior:
        """Return the distribution of codes (B, C, H, W), unscaled, of images (B, 3, S, S) in [−1, 1]."""

    def channels(self, config: Mapping[str, Any]) -> int:
        """Return C, the number of channels of a code."""
        return int(config["latent_channels"])

    def factors(self, config: Mapping[str, Any]) -> tuple[int, int]:
        """Return by which factor E reduces the side of images, and by which D enlarges that of codes."""
        factor = 2 ** (len(config["block_out_channels"]) - 1)
        return factor, factor

    def shift_and_scale(self, config: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the shift to subtract from a code and the factor of the result, for unit variance; () or (C, 1, 1).

        Both are by channel if a config has `latents_mean` and `latents_std`, as diffusers' pipeline for SDXL does it.
        """
        scale = torch.tensor(float(config.get("scaling_factor") or 1))
        mean, std = config.get("latents_mean"), config.get("latents_std")
        if mean is not None and std is not None:
            return torch.tensor(mean).view(-1, 1, 1), scale / torch.tensor(std).view(-1, 1, 1)
        return torch.tensor(float(config.get("shift_factor") or 0)), scale


class KLCodes(Codes):
    """AutoencoderKL: the encoder returns mean and standard deviation."""

    def posterior(self, network: Any, images: Tensor) -> Posterior:
        """Return its `latent_dist`."""
        found = network.encode(images).latent_dist
        return Posterior(found.mean, found.std)


class TinyCodes(Codes):
    """AutoencoderTiny: its encoder is deterministic; the standard deviation is that of rounding codes to 8 bits.

    Its `forward` rounds codes to 256 values in ±`latent_magnitude` (`scale_latents`), without a visible
    difference in the images. Uniform values within a step of 2 · magnitude / 255 have a deviation of step / √12.
    """

    def factors(self, config: Mapping[str, Any]) -> tuple[int, int]:
        """Return the factors; each stage but one halves the sides or multiplies by `upsampling_scaling_factor`."""
        up = int(config["upsampling_scaling_factor"])
        return 2 ** (len(config["num_encoder_blocks"]) - 1), up ** (len(config["num_decoder_blocks"]) - 1)

    def posterior(self, network: Any, images: Tensor) -> Posterior:
        """Return a normal distribution about its codes."""
        mean = network.encode(images).latents
        step = 2 * network.config["latent_magnitude"] / 255
        return Posterior(mean, torch.full_like(mean, step / math.sqrt(12)))


class VQCodes(Codes):
    """VQModel: codes before quantisation, which is part of decoding.

    The deviation at a position is a twentieth (`share`) of the distance between the entry that the code there is
    rounded to and the entry nearest to that one. A code that lies anywhere in a cell as wide as this distance leaves it
    on either side with a probability of 0.05 · √(2/π), 4 % for each dimension; on codebooks drawn at random in three
    dimensions 5 to 7 % of the positions change their entry. Training draws codes to their entries, where fewer do.

    Codes are not scaled: configs and pipelines of diffusers do not agree on a `scaling_factor` here (revisions of
    one published config have 1 and, by default, 0.18215).
    """

    share = 0.05

    def channels(self, config: Mapping[str, Any]) -> int:
        """Return `vq_embed_dim`, by default the encoder's number of channels."""
        return int(config["vq_embed_dim"] or config["latent_channels"])

    def shift_and_scale(self, config: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return 0 and 1: codes are not scaled."""
        return torch.tensor(0.0), torch.tensor(1.0)

    def posterior(self, network: Any, images: Tensor) -> Posterior:
        """Return a normal distribution about its codes."""
        mean = network.encode(images).latents
        with torch.no_grad():
            entries = network.quantize(mean)[2][2]
            distance = neighbour_distance(network.quantize.embedding.weight, entries)
        std = self.share * distance.view(len(mean), 1, *mean.shape[2:])
        return Posterior(mean, std.expand_as(mean))


#: codes by the name of the class
CODES: Mapping[str, Codes] = {"AutoencoderKL": KLCodes(), "AutoencoderTiny": TinyCodes(), "VQModel": VQCodes()}

"""BigGAN's generator (Brock et al., 2019, tables 4 to 6; paper, table S9), under the names of GANalyze's files."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invkit.autoencoders.spectral import PowerStep, attend, bounded

__all__ = ["PLANS", "BigGAN"]

#: size: (channels in multiples of the width, block before which attention stands)
PLANS = {
    32: ((4, 4, 4, 4), 2),
    64: ((16, 16, 8, 4, 2), 3),
    128: ((16, 16, 8, 4, 2, 1), 4),
    256: ((16, 16, 8, 8, 4, 2, 1), 5),
    512: ((16, 16, 8, 8, 4, 2, 1, 1), 4),
}
_CHUNK = 20  # dimensions of z for each block; the first map gets the rest
_EMBEDDING = 128


class _ConditionalNorm(nn.Module):
    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels, eps=1e-4, affine=False)
        self.gamma_embed = PowerStep(channels, condition, bias=False)
        self.beta_embed = PowerStep(channels, condition, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        gain, shift = self.gamma_embed(condition) + 1, self.beta_embed(condition)
        return self.bn(x) * gain[..., None, None] + shift[..., None, None]


class _Block(nn.Module):
    """A residual block that doubles the side."""

    def __init__(self, channels: int, out: int, condition: int) -> None:
        super().__init__()
        self.HyperBN = _ConditionalNorm(channels, condition)
        self.conv0 = PowerStep(out, channels, 3, 3)
        self.HyperBN_1 = _ConditionalNorm(out, condition)
        self.conv1 = PowerStep(out, out, 3, 3)
        self.conv_sc = PowerStep(out, channels, 1, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        inner = self.conv0(F.interpolate(F.relu(self.HyperBN(x, condition)), scale_factor=2.0))
        inner = self.conv1(F.relu(self.HyperBN_1(inner, condition)))
        # a 1×1 convolution commutes with repeating pixels, and is four times cheaper before it
        return bounded(inner + F.interpolate(self.conv_sc(x), scale_factor=2.0))


class _Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.theta = PowerStep(channels // 8, channels, 1, 1, bias=False)
        self.phi = PowerStep(channels // 8, channels, 1, 1, bias=False)
        self.g = PowerStep(channels // 2, channels, 1, 1, bias=False)
        self.o_conv = PowerStep(channels, channels // 2, 1, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gamma * self.o_conv(attend(self.theta(x), self.phi(x), self.g(x)))


class BigGAN(nn.Module):
    """The generator: one chunk of z becomes the first 4×4 map; each block is conditioned on another and on the class.

    Args:
        image_size: 32, 64, 128, 256 or 512.
        width: channels of the last block, half of those at 64 px; 96 in the published files.
        classes: number of classes.
        z_dim: length of z. None for the published chunks of 20 (16 at 512 px). Otherwise blocks get 20 and the first
            map the rest, as in the authors' autoencoder; if z is too short for that, all get the same.

    Attributes:
        z_dim: length of z.
    """

    def __init__(self, image_size: int, width: int = 96, classes: int = 1000, z_dim: int | None = None) -> None:
        super().__init__()
        multiples, self._attention_before = PLANS[image_size]
        channels = [width * m for m in multiples]
        blocks = len(channels) - 1
        chunk = 16 if image_size == 512 else _CHUNK
        self.z_dim = chunk * len(channels) if z_dim is None else z_dim
        chunk = chunk if self.z_dim > blocks * chunk else self.z_dim // (blocks + 1)
        self._chunks = [self.z_dim - blocks * chunk] + [chunk] * blocks
        self.linear = nn.Linear(classes, _EMBEDDING, bias=False)
        self.G_linear = PowerStep(16 * channels[0], self._chunks[0])
        pairs = itertools.pairwise(channels)
        self.GBlock = nn.ModuleList(_Block(a, b, chunk + _EMBEDDING) for a, b in pairs)
        self.attention = _Attention(channels[self._attention_before])
        # at 512 px the published code uses torch's 1e-5 here
        self.ScaledCrossReplicaBN = nn.BatchNorm2d(channels[-1], eps=1e-5 if image_size == 512 else 1e-4)
        self.colorize = PowerStep(3, channels[-1], 3, 3)

    @property
    def embeddings_of_classes(self) -> Tensor:
        """Wᵀ: the embedding of each class, (classes, 128)."""
        return self.linear.weight.T

    def forward(self, z: Tensor, embedding: Tensor, truncation: float = 1.0) -> Tensor:
        """Return images (B, 3, S, S) in [−1, 1] of z (B, z_dim) and embeddings (B, 128).

        The batch statistics are stored for one truncation only, so that `truncation` has no effect.
        """
        first, *chunks = z.split(self._chunks, 1)
        x = self.G_linear(first).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)  # channels are last, as in TensorFlow
        for index, (block, chunk) in enumerate(zip(self.GBlock, chunks, strict=True)):
            if index == self._attention_before:
                x = self.attention(x)
            x = block(x, torch.cat([chunk, embedding], 1))
        return torch.tanh(self.colorize(F.relu(self.ScaledCrossReplicaBN(x))))

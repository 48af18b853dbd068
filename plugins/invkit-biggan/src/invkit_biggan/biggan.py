"""BigGAN (Brock et al., 2019, tables 4 to 6) under the names of GANalyze's files, which CompVis used too."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invkit_biggan.spectral import PowerStep, attend, bounded

__all__ = ["BigGAN"]

#: size: (length of a chunk of z, channels in multiples of the width, block before which attention stands)
_PLANS = {
    128: (20, (16, 16, 8, 4, 2, 1), 4),
    256: (20, (16, 16, 8, 8, 4, 2, 1), 5),
    512: (16, (16, 16, 8, 8, 4, 2, 1, 1), 4),
}
_EMBEDDING = 128


class _Norm(nn.BatchNorm2d):
    """Batch normalisation by the stored statistics, in either mode."""

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)

    def measure(self, x: Tensor) -> None:
        """Make the statistics those of a batch."""
        assert self.running_mean is not None
        assert self.running_var is not None
        self.running_mean.copy_(x.mean((0, 2, 3)))
        self.running_var.copy_(x.var((0, 2, 3)))


class _ConditionalNorm(nn.Module):
    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.bn = _Norm(channels, eps=1e-4, affine=False)
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
    """The generator: a chunk of z makes the first 4×4 map, one goes to each block beside the class embedding.

    Args:
        image_size: 128, 256 or 512.
        width: channels of the last block; 96 in the published files.
        classes: number of classes.

    Attributes:
        z_dim: length of z̃: 120, 140 or 128.
    """

    def __init__(self, image_size: int, width: int = 96, classes: int = 1000) -> None:
        super().__init__()
        chunk, multiples, self._attention_before = _PLANS[image_size]
        channels = [width * m for m in multiples]
        self.z_dim = chunk * len(channels)
        self.linear = nn.Linear(classes, _EMBEDDING, bias=False)
        self.G_linear = PowerStep(16 * channels[0], chunk)
        pairs = itertools.pairwise(channels)
        self.GBlock = nn.ModuleList(_Block(a, b, chunk + _EMBEDDING) for a, b in pairs)
        self.attention = _Attention(channels[self._attention_before])
        # the published code leaves this one at torch's 1e-5 for 512 px
        self.ScaledCrossReplicaBN = _Norm(channels[-1], eps=1e-5 if image_size == 512 else 1e-4)
        self.colorize = PowerStep(3, channels[-1], 3, 3)

    @property
    def embeddings_of_classes(self) -> Tensor:
        """Wᵀ: the embedding of each class, (classes, 128)."""
        return self.linear.weight.T

    def forward(self, z: Tensor, embedding: Tensor, truncation: float = 1.0) -> Tensor:
        """Give images (B, 3, S, S) in [−1, 1] of z (B, z_dim) and embeddings (B, 128).

        These files hold the statistics of one truncation only, so that `truncation` changes nothing here.
        """
        first, *chunks = z.chunk(len(self.GBlock) + 1, 1)
        x = self.G_linear(first).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)  # channels are last, as in TensorFlow
        for index, (block, chunk) in enumerate(zip(self.GBlock, chunks, strict=True)):
            if index == self._attention_before:
                x = self.attention(x)
            x = block(x, torch.cat([chunk, embedding], 1))
        return torch.tanh(self.colorize(F.relu(self.ScaledCrossReplicaBN(x))))

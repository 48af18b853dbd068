"""BigGAN-deep (Brock et al., 2019, tables 7 to 9) under the names of Hugging Face's files."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invkit.autoencoders.spectral import StoredVectors, attend, bounded

__all__ = ["BigGANDeep"]

#: by size: input channels of each block and output channels of the last, in multiples of the width; every second block
#: doubles the side
_PLANS = {
    128: (16, 16, 16, 16, 8, 8, 4, 4, 2, 2, 1),
    256: (16, 16, 16, 16, 8, 8, 8, 8, 4, 4, 2, 2, 1),
    512: (16, 16, 16, 16, 8, 8, 8, 8, 4, 4, 2, 2, 1, 1, 1),
}
_ATTENTION = 8  # its position in the list of layers, at 64×64 px for all sizes
_STATISTICS = 51  # for truncation 0, 0.02, …, 1
_EPS = 1e-4
_Z = _EMBEDDING = 128


class _Norm(nn.Module):
    """Batch normalisation by statistics stored for 51 truncations, with a learned or a conditional affine map.

    Between two truncations the statistics are interpolated linearly. The published code swaps the two weights: at
    truncation 0.405, a quarter of the way from entry 20 to 21, it uses three quarters. `swapped` does the same.
    """

    running_means: Tensor
    running_vars: Tensor

    def __init__(self, channels: int, condition: int = 0) -> None:
        super().__init__()
        self.swapped = False
        self.register_buffer("running_means", torch.zeros(_STATISTICS, channels))
        self.register_buffer("running_vars", torch.ones(_STATISTICS, channels))
        self.conditional = condition > 0
        if self.conditional:
            self.scale = StoredVectors(channels, condition, bias=False)
            self.offset = StoredVectors(channels, condition, bias=False)
        else:
            self.weight = nn.Parameter(torch.ones(channels))
            self.bias = nn.Parameter(torch.zeros(channels))

    def statistics(self, truncation: float) -> tuple[Tensor, Tensor]:
        """Return mean and variance of each channel at a truncation in [0, 1]."""
        # the division of the published code, which decides on which side of an entry a rounded value lies
        position = truncation / (1.0 / (_STATISTICS - 1))
        low = int(position)
        share = position - low
        if share == 0:
            return self.running_means[low], self.running_vars[low]
        share = 1 - share if self.swapped else share
        means, variances = self.running_means, self.running_vars
        return torch.lerp(means[low], means[low + 1], share), torch.lerp(variances[low], variances[low + 1], share)

    def forward(self, x: Tensor, condition: Tensor, truncation: float) -> Tensor:
        mean, variance = self.statistics(truncation)
        if not self.conditional:
            return F.batch_norm(x, mean, variance, self.weight, self.bias, eps=_EPS)
        gain, shift = 1 + self.scale(condition), self.offset(condition)
        return F.batch_norm(x, mean, variance, eps=_EPS) * gain[..., None, None] + shift[..., None, None]


class _Block(nn.Module):
    """A bottleneck block; if it reduces the channels the shortcut drops the last ones."""

    def __init__(self, channels: int, out: int, condition: int, double: bool) -> None:
        super().__init__()
        self._out, self._double = out, double
        middle = channels // 4
        self.bn_0, self.conv_0 = _Norm(channels, condition), StoredVectors(middle, channels, 1, 1)
        self.bn_1, self.conv_1 = _Norm(middle, condition), StoredVectors(middle, middle, 3, 3)
        self.bn_2, self.conv_2 = _Norm(middle, condition), StoredVectors(middle, middle, 3, 3)
        self.bn_3, self.conv_3 = _Norm(middle, condition), StoredVectors(out, middle, 1, 1)

    def forward(self, x: Tensor, condition: Tensor, truncation: float) -> Tensor:
        inner = self.conv_0(F.relu(self.bn_0(x, condition, truncation)))
        inner = self._enlarge(F.relu(self.bn_1(inner, condition, truncation)))
        inner = self.conv_2(F.relu(self.bn_2(self.conv_1(inner), condition, truncation)))
        inner = self.conv_3(F.relu(self.bn_3(inner, condition, truncation)))
        return bounded(inner + self._enlarge(x[:, : self._out]))

    def _enlarge(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0) if self._double else x


class _Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.snconv1x1_theta = StoredVectors(channels // 8, channels, 1, 1, bias=False)
        self.snconv1x1_phi = StoredVectors(channels // 8, channels, 1, 1, bias=False)
        self.snconv1x1_g = StoredVectors(channels // 2, channels, 1, 1, bias=False)
        self.snconv1x1_o_conv = StoredVectors(channels, channels // 2, 1, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, condition: Tensor, truncation: float) -> Tensor:
        seen = attend(self.snconv1x1_theta(x), self.snconv1x1_phi(x), self.snconv1x1_g(x))
        return x + self.gamma * self.snconv1x1_o_conv(seen)


class _Trunk(nn.Module):
    def __init__(self, channels: list[int], condition: int) -> None:
        super().__init__()
        self.gen_z = StoredVectors(16 * channels[0], condition)
        pairs = itertools.pairwise(channels)
        self.layers = nn.ModuleList(_Block(a, b, condition, double=i % 2 == 1) for i, (a, b) in enumerate(pairs))
        self.layers.insert(_ATTENTION, _Attention(channels[_ATTENTION]))
        self.bn = _Norm(channels[-1])
        self.conv_to_rgb = StoredVectors(channels[-1], channels[-1], 3, 3)  # three of its channels are used

    def forward(self, condition: Tensor, truncation: float) -> Tensor:
        x = self.gen_z(condition).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)  # channels are last, as in TensorFlow
        for layer in self.layers:
            x = layer(x, condition, truncation)
        return torch.tanh(self.conv_to_rgb(F.relu(self.bn(x, condition, truncation)))[:, :3])


class BigGANDeep(nn.Module):
    """The generator: all of z and of the class embedding go into the first map and into every block.

    Args:
        image_size: 128, 256 or 512.
        width: channels of the last block; 128 in the published files.
        classes: number of classes.
        swapped_statistics: interpolate the statistics as the published code does, with its two weights swapped,
            instead of correctly. It matters only for truncations that are no multiple of 0.02.

    Attributes:
        z_dim: length of z̃, 128.
    """

    def __init__(
        self, image_size: int, width: int = 128, classes: int = 1000, swapped_statistics: bool = False
    ) -> None:
        super().__init__()
        self.z_dim = _Z
        self.embeddings = nn.Linear(classes, _EMBEDDING, bias=False)
        self.generator = _Trunk([width * m for m in _PLANS[image_size]], _Z + _EMBEDDING)
        for module in self.modules():
            if isinstance(module, _Norm):
                module.swapped = swapped_statistics

    @property
    def embeddings_of_classes(self) -> Tensor:
        """Wᵀ: the embedding of each class, (classes, 128)."""
        return self.embeddings.weight.T

    def forward(self, z: Tensor, embedding: Tensor, truncation: float = 1.0) -> Tensor:
        """Return images (B, 3, S, S) in [−1, 1] of z (B, 128), embeddings (B, 128) and a truncation in (0, 1]."""
        return self.generator(torch.cat([z, embedding], 1), truncation)

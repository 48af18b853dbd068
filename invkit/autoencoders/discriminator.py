"""The patch discriminator of the image metric (paper, table S4)."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

__all__ = ["PatchDiscriminator"]


class PatchDiscriminator(nn.Module):
    """Distinguish patches of images from patches of reconstructions by 4×4 convolutions.

    At 128 px: 64 channels at 64×64, 128 at 32×32, 256 at 16×16, 512 at 8×8, 512, 1; batch normalisation in all but the
    first and last, LReLU 0.2. Images of other sizes are halved as often.

    Args:
        width: channels of the first layer.

    Example:
        >>> import torch
        >>> PatchDiscriminator(width=4)(torch.rand(2, 3, 64, 64)).shape
        torch.Size([2, 1, 4, 4])
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.config = {"width": width}
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for a, b in itertools.pairwise((width, 2 * width, 4 * width, 8 * width)):
            layers += [nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)]
        same = nn.ZeroPad2d((1, 2, 1, 2))
        layers += [same, nn.Conv2d(8 * width, 8 * width, 4, bias=False), nn.BatchNorm2d(8 * width), nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*layers, same, nn.Conv2d(8 * width, 1, 4))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, 1, S/16, S/16), positive for real, of images (B, 3, S, S) in [0, 1]."""
        logits: Tensor = self.net((2 * images - 1).contiguous(memory_format=torch.channels_last))
        return logits.float()

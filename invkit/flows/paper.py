"""The paper's embedders H, with the sizes of the authors' released code."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from invkit.core import Embedder
from invkit.errors import LayerError
from invkit.flows.actnorm import ActNorm

__all__ = ["PaperMapEmbedder", "PaperVectorEmbedder", "paper_embedder_for"]


class _ChannelNorm(nn.Module):
    """Actnorm over the channels of (B, C) or (B, C, H, W), without its log-determinant."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ActNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.movedim(1, -1)).value.movedim(-1, 1)

    def initialize(self, x: Tensor) -> None:
        self.norm.initialize(x.movedim(1, -1).flatten(0, -2))


class _PaperEmbedder(Embedder):
    net: nn.Sequential

    def forward(self, z: Tensor) -> Tensor:
        """Return the conditions (B, C) of z (B, *shape)."""
        h: Tensor = self.net(z)
        return h.flatten(1)

    @torch.no_grad()
    def initialize(self, z: Tensor, noise: float = 0.0) -> None:
        """Initialise each actnorm on the output of the layers before it."""
        z = z + noise * torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
        for layer in self.net:
            if isinstance(layer, _ChannelNorm):
                layer.initialize(z)
            z = layer(z)


class PaperVectorEmbedder(_PaperEmbedder):
    """Linear layers of widths int(linspace(in, N, depth)), actnorm and LeakyReLU 0.2 between them.

    Args:
        shape: (D,).
        condition_dim: N.
        depth: number of widths, both ends included: 4 for 3 layers.

    Example:
        >>> import torch
        >>> from invkit.flows import PaperVectorEmbedder
        >>> PaperVectorEmbedder((512,), 128)(torch.rand(2, 512)).shape
        torch.Size([2, 128])
    """

    def __init__(self, shape: tuple[int, ...], condition_dim: int, depth: int = 4) -> None:
        super().__init__()
        self.config = {"shape": list(shape), "condition_dim": condition_dim, "depth": depth}
        self.condition_dim = condition_dim
        widths = [int(w) for w in torch.linspace(shape[0], condition_dim, depth, dtype=torch.float64)]
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            layers += [nn.Linear(a, b), _ChannelNorm(b), nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*layers[:-2])


class PaperMapEmbedder(_PaperEmbedder):
    """n_down × [4×4 stride-2 convolution, actnorm, LeakyReLU 0.2], then one convolution over the remaining map.

    Args:
        shape: (C, H, W).
        condition_dim: N.
        n_down: how often the map is halved; None for as often as at least 2 px remain.

    Example:
        >>> import torch
        >>> from invkit.flows import PaperMapEmbedder
        >>> PaperMapEmbedder((16, 8, 8), 128)(torch.rand(2, 16, 8, 8)).shape
        torch.Size([2, 128])
    """

    def __init__(self, shape: tuple[int, ...], condition_dim: int, n_down: int | None = None) -> None:
        super().__init__()
        channels, height, width = shape
        side = min(height, width)
        n_down = max(side.bit_length() - 2, 0) if n_down is None else n_down
        self.config = {"shape": list(shape), "condition_dim": condition_dim, "n_down": n_down}
        self.condition_dim = condition_dim
        layers: list[nn.Module] = []
        for k in range(n_down):
            out = min(64 * 2**k, 1024)
            layers += [nn.Conv2d(channels, out, 4, 2, 1, bias=False), _ChannelNorm(out), nn.LeakyReLU(0.2)]
            channels, height, width = out, height // 2, width // 2
        self.net = nn.Sequential(*layers, nn.Conv2d(channels, condition_dim, (height, width)))


def paper_embedder_for(shape: tuple[int, ...], condition_dim: int) -> Embedder:
    """Build the paper's H for a vector or a map.

    Raises:
        LayerError: the paper has no embedder for this shape (tokens, for instance).
    """
    if len(shape) == 1:
        return PaperVectorEmbedder(shape, condition_dim)
    if len(shape) == 3:
        return PaperMapEmbedder(shape, condition_dim)
    raise LayerError(
        "The paper has no embedder H for this representation",
        expected="a vector (C,) or a map (C, H, W) for each image",
        got=f"shape {tuple(shape)}",
        hint="Use the default preset, or set FlowSettings.embedder to an embedder of your own.",
    )

"""The lean embedders H, for vectors, maps and tokens (paper, eq. 16)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invkit.core import Embedder
from invkit.errors import LayerError
from invkit.utils.random import seeded

__all__ = ["MapEmbedder", "TokenEmbedder", "VectorEmbedder", "embedder_for"]


class VectorEmbedder(Embedder):
    """Principal directions, then a perceptron with one hidden layer, for vectors (B, D). Larger shapes are flattened.

    The first layer starts as a projection on the strongest directions of z, each scaled to unit variance, so that a
    faint direction above the noise floor contributes from the first step.

    Args:
        shape: shape of z without the batch axis.
        condition_dim: C.
        width: hidden width, and largest number of directions.

    Example:
        >>> import torch
        >>> from invkit.flows import VectorEmbedder
        >>> VectorEmbedder((512,), 128)(torch.rand(2, 512)).shape
        torch.Size([2, 128])
    """

    def __init__(self, shape: tuple[int, ...], condition_dim: int, width: int = 256) -> None:
        super().__init__()
        self.config = {"shape": list(shape), "condition_dim": condition_dim, "width": width}
        self.condition_dim = condition_dim
        size = int(torch.Size(shape).numel())
        kept = min(size, width)
        self.project = nn.Linear(size, kept)
        self.net = nn.Sequential(nn.Linear(kept, width), nn.GELU(), nn.Linear(width, condition_dim))

    def forward(self, z: Tensor) -> Tensor:
        """Return the conditions (B, C) of z (B, *shape)."""
        h: Tensor = self.net(self.project(z.flatten(1)))
        return h

    @torch.no_grad()
    def initialize(self, z: Tensor, noise: float = 0.0) -> None:
        """Set the projection to the principal directions of z (B, *shape)."""
        z = z.flatten(1)
        mean = z.mean(0)
        with seeded(0, "directions"):  # the randomised decomposition draws from the global generator
            kept = min(*z.shape, len(self.project.bias))
            _, values, directions = torch.svd_lowrank(z - mean, kept, niter=2)
        std = (values.square() / len(z) + noise**2 + 1e-8).sqrt()
        self.project.weight.zero_()
        self.project.weight[:kept] = (directions / std).T
        self.project.bias.copy_(-self.project.weight @ mean)


class MapEmbedder(Embedder):
    """Strided convolutions down to at most 4×4, then a perceptron, for feature maps (B, C, H, W).

    Args:
        shape: (C, H, W).
        condition_dim: width of the condition.
        width: hidden width of the perceptron.
        channels: channels of the convolutions.

    Example:
        >>> import torch
        >>> from invkit.flows import MapEmbedder
        >>> MapEmbedder((16, 14, 14), 32)(torch.rand(2, 16, 14, 14)).shape
        torch.Size([2, 32])
    """

    def __init__(self, shape: tuple[int, ...], condition_dim: int, width: int = 256, channels: int = 128) -> None:
        super().__init__()
        self.config = {
            "shape": list(shape), "condition_dim": condition_dim, "width": width, "channels": channels,
        }  # fmt: skip
        self.condition_dim = condition_dim
        inputs, height, side = shape
        layers: list[nn.Module] = []
        while max(height, side) > 4:
            layers += [nn.Conv2d(inputs, channels, 3, 2, 1), nn.GELU()]
            inputs, height, side = channels, (height + 1) // 2, (side + 1) // 2
        self.down = nn.Sequential(*layers)
        self.head = VectorEmbedder((inputs, height, side), condition_dim, width)

    def forward(self, z: Tensor) -> Tensor:
        """Return the conditions of z (B, C, H, W)."""
        h: Tensor = self.head(self.down(z))
        return h

    def initialize(self, z: Tensor, noise: float = 0.0) -> None:
        """Set the perceptron's projection from the convolutions' output for z."""
        _initialize_head(self.head, self.down, z, noise)


class TokenEmbedder(Embedder):
    """Attention pooling by learned queries, then a perceptron, for tokens and sequences (B, T, C).

    Args:
        shape: (T, C).
        condition_dim: width of the condition.
        width: hidden width.
        queries: number of learned queries.

    Example:
        >>> import torch
        >>> from invkit.flows import TokenEmbedder
        >>> TokenEmbedder((50, 64), 32)(torch.rand(2, 50, 64)).shape
        torch.Size([2, 32])
    """

    def __init__(self, shape: tuple[int, ...], condition_dim: int, width: int = 256, queries: int = 8) -> None:
        super().__init__()
        self.config = {
            "shape": list(shape), "condition_dim": condition_dim, "width": width, "queries": queries,
        }  # fmt: skip
        self.condition_dim = condition_dim
        tokens, channels = shape
        self.heads = 4
        self.lift = nn.Linear(channels, width)
        self.position = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.query = nn.Parameter(torch.randn(queries, width))
        self.key_value = nn.Linear(width, 2 * width)
        self.head = VectorEmbedder((queries, width), condition_dim, width)

    def pool(self, z: Tensor) -> Tensor:
        """Pool tokens (B, T, C) to (B, queries, width)."""
        x = self.lift(z) + self.position
        key, value = self.key_value(F.gelu(x)).chunk(2, -1)
        query = self.query.to(x.dtype).expand(len(z), -1, -1)

        def heads(t: Tensor) -> Tensor:
            return t.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        pooled = F.scaled_dot_product_attention(heads(query), heads(key), heads(value))
        return pooled.transpose(1, 2).flatten(2)

    def forward(self, z: Tensor) -> Tensor:
        """Return the conditions of z (B, T, C)."""
        h: Tensor = self.head(self.pool(z))
        return h

    def initialize(self, z: Tensor, noise: float = 0.0) -> None:
        """Set the perceptron's projection from the pooled z."""
        _initialize_head(self.head, self.pool, z, noise)


@torch.no_grad()
def _initialize_head(head: VectorEmbedder, below: Callable[[Tensor], Tensor], z: Tensor, noise: float) -> None:
    """Initialise the head from features of z; layers below the head see z with noise."""
    if isinstance(below, nn.Sequential) and not len(below):
        return head.initialize(z, noise)
    noisy = z + noise * torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
    return head.initialize(torch.cat([below(part) for part in noisy.split(256)]))


def embedder_for(shape: tuple[int, ...], condition_dim: int, **options: Any) -> Embedder:
    """Build the lean H for the shape of z without its batch axis: a vector, tokens (T, C) or a map (C, H, W).

    Args:
        shape: shape of z without the batch axis.
        condition_dim: width of the condition.
        options: further arguments of the embedder.

    Raises:
        LayerError: z has no axis beside the batch, or more than three.

    Example:
        >>> from invkit.flows import embedder_for
        >>> type(embedder_for((50, 64), 32)).__name__
        'TokenEmbedder'
    """
    kinds: dict[int, type[Embedder]] = {1: VectorEmbedder, 2: TokenEmbedder, 3: MapEmbedder}
    if len(shape) not in kinds:
        raise LayerError(
            "No embedder H for this representation",
            expected="a vector (C,), tokens (T, C) or a map (C, H, W) for each image",
            got=f"shape {tuple(shape)}",
            hint="Choose another layer, or set FlowSettings.embedder to an embedder of your own.",
        )
    return kinds[len(shape)](shape, condition_dim, **options)

"""t, the conditional INN: v = t(z̄ | z), with z = Φ(x) (paper, sec. 3.1 and A.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from invkit.core import Embedder, FlowBlock, Transformed
from invkit.flows.sequence import FlowSequence

__all__ = ["InvarianceFlow", "standard_normal_nll"]

_PART = 256  # batch size of the embedder


def standard_normal_nll(value: Tensor) -> Tensor:
    """Return −log N(value; 0, 1) of each row, (B, D) to (B,), in nats."""
    return 0.5 * (value.square() + math.log(2 * math.pi)).sum(-1)


class InvarianceFlow(nn.Module):
    """A flow over codes z̄, conditioned on a layer's representation z of the same image.

    The condition is z̃ = (z − mean) / scale + noise. One scale for all of z keeps a faint channel faint. The noise is
    isotropic, with a standard deviation of `noise_floor` times the *total* standard deviation of z. A direction of z
    with less than noise_floor² of its variance is lost in it. That makes the question what a layer represents well
    posed: without a noise floor even a random deep layer determines nearly everything.

    Args:
        blocks: unconditional or conditional blocks over z̄ (B, N), all given h = H(z̃).
        embedder: H.
        noise_floor: relative standard deviation of the noise, 0 for none.
        recompute: trade time for memory in the backward pass (:class:`FlowSequence`).

    Example:
        >>> import torch
        >>> from invkit.flows import FlowSettings, InvarianceFlow
        >>> settings = FlowSettings(n_flow=2, width=16)
        >>> h = settings.build_embedder((10,), code=6)
        >>> t = InvarianceFlow(settings.blocks(6, h.condition_dim), h, noise_floor=0.01)
        >>> latents, z = torch.randn(32, 6), torch.randn(32, 10)
        >>> t.initialize(latents, z)
        >>> t.nll(latents, t.perceive(z)).shape, t.sample(t.perceive(z[:2]), n=5).shape
        (torch.Size([32]), torch.Size([2, 5, 6]))
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        blocks: list[FlowBlock],
        embedder: Embedder,
        *,
        noise_floor: float = 0.0,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.blocks = FlowSequence(blocks, recompute=recompute)
        self.embedder = embedder
        self.dim: int = blocks[0].dim
        self.noise_floor = noise_floor
        shape = tuple(embedder.config["shape"])
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(()))

    @torch.no_grad()
    def initialize(self, latents: Tensor, z: Tensor) -> None:
        """Set the scale of z and every actnorm from the training data.

        Args:
            latents: (B, N), codes of the same images.
            z: (B, …), raw representations.
        """
        self.mean.copy_(z.mean(0))
        variance = (z - self.mean).square().mean()
        self.scale.copy_(torch.where(variance > 0, variance, torch.ones_like(variance)).sqrt())
        self.embedder.initialize((z - self.mean) / self.scale, self.noise)
        z_seen = self.perceive(z, torch.Generator(z.device).manual_seed(0))
        self.blocks.initialize(latents, self.embedder(z_seen))

    @property
    def device(self) -> torch.device:
        """Device of the flow: a GPU only while it is trained on one."""
        return self.mean.device

    @property
    def noise(self) -> float:
        """Standard deviation of the noise on each element of z̃; the variances of the D elements sum to D without it."""
        return self.noise_floor * math.sqrt(self.mean.numel())

    def perceive(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return z̃ (B, …): z centred and scaled, with noise drawn if the noise floor is positive."""
        if not self.noise_floor:
            return (z - self.mean) / self.scale
        device = z.device if generator is None else generator.device
        seen = torch.empty(z.shape, device=device).normal_(generator=generator).to(z)
        return seen.mul_(self.noise * self.scale).add_(z).sub_(self.mean).div_(self.scale)  # z may be large: one copy

    def forward(self, latents: Tensor, z_seen: Tensor) -> Transformed:
        """Return v = t(z̄ | z̃) and its log-determinant, for z̃ from :meth:`perceive`."""
        result: Transformed = self.blocks(latents, self.embedder(z_seen))
        return result

    def nll(self, latents: Tensor, z_seen: Tensor) -> Tensor:
        """Return −log p(z̄ | z̃) of each row, in nats, (B,)."""
        v, log_det = self(latents, z_seen)
        return standard_normal_nll(v) - log_det

    def condition(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return h = H(z̃), (B, C), of representations z (B, …), to draw many codes of each by :meth:`inverse_given`."""
        return torch.cat([self.embedder(self.perceive(part, generator)) for part in z.split(_PART)])

    def inverse(self, v: Tensor, z_seen: Tensor) -> Tensor:
        """Return z̄ = t⁻¹(v | z̃), (B, N); rows of v and z̃ belong together."""
        return self.inverse_given(v, self.embedder(z_seen))

    def inverse_given(self, v: Tensor, h: Tensor) -> Tensor:
        """Return z̄ = t⁻¹(v | z̃) for h = H(z̃) (B, C) and v (B, N), or (B, n, N) for n codes of each; z̄ has its shape."""
        if v.ndim == 2:
            return self.blocks.inverse(v, h).value
        if self.blocks.broadcasts:
            return self.blocks.inverse(v, h[:, None]).value
        return self.inverse_given(v.flatten(0, 1), h.repeat_interleave(v.shape[1], 0)).unflatten(0, v.shape[:2])

    def sample(self, z_seen: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw n codes for each z̃, (B, n, N). H is computed once for each z̃."""
        h = self.embedder(z_seen)
        v = torch.empty(len(z_seen), n, self.dim, dtype=h.dtype, device=h.device).normal_(generator=generator)
        return self.inverse_given(v, h)

"""The perceptual distance of images over layers of any network (paper, table S4)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from invkit.core import Interpretee
from invkit.errors import SettingsError
from invkit.interpretees.module import ModuleInterpretee
from invkit.interpretees.preprocess import IMAGENET
from invkit.interpretees.resolve import load_model
from invkit.interpretees.weights import read_weights
from invkit.utils.io import content_hash

__all__ = ["LPIPS_LAYERS", "PerceptualDistance"]

#: torchvision's addresses of VGG-16's relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3
LPIPS_LAYERS = ("features.3", "features.8", "features.15", "features.22", "features.29")


class PerceptualDistance:
    """The distance of two images in the features of a network (Zhang et al., LPIPS, 2018).

    At each layer, features are normalised to unit length over the channels at each position. Squared differences are
    weighted by channel, summed over channels, averaged over positions and summed over layers.

    Args:
        interpretee: the network.
        layers: addresses of maps (C, H, W).
        heads: weights of the channels for each layer, (C,), ≥ 0; None for 1/C each.

    Raises:
        SettingsError: no layers, or another number of heads; when called, a layer whose output is not maps.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from invkit.interpretees import ModuleInterpretee
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3))
        >>> distance = PerceptualDistance(ModuleInterpretee(network), ["0", "2"])
        >>> images, others = torch.rand(2, 4, 3, 16, 16)
        >>> distance(images, others).shape
        torch.Size([4])
        >>> distance(images, images)
        tensor([0., 0., 0., 0.])
    """

    def __init__(self, interpretee: Interpretee, layers: Sequence[str], heads: Sequence[Tensor] | None = None) -> None:
        if not layers or (heads is not None and len(heads) != len(layers)):
            raise SettingsError(
                "A perceptual distance takes layers, and weights of channels for each or for none",
                expected=f"{max(len(layers), 1)} layers and as many heads",
                got=f"{len(layers)} layers, {'no' if heads is None else len(heads)} heads",
            )
        self.interpretee, self.layers = interpretee, list(layers)
        self.heads = None if heads is None else [head.detach().float() for head in heads]

    @classmethod
    def lpips(
        cls, *, weights: str | Path | None = None, local_files_only: bool = False, device: torch.device | None = None
    ) -> PerceptualDistance:
        """Return LPIPS: torchvision's VGG-16 with the published linear heads, which torchmetrics ships.

        Args:
            weights: weights of VGG-16; None for torchvision's, of ImageNet.
            local_files_only: never download.
            device: device of the network.

        Raises:
            ArtefactError: VGG-16's weights are not available.
            PluginError: invkit-torchvision is not installed.
        """
        loaded = load_model("torchvision:vgg16", weights=weights, local_files_only=local_files_only)
        assert isinstance(loaded, ModuleInterpretee)
        network = ModuleInterpretee(loaded.module.to(device), IMAGENET)
        spec = find_spec("torchmetrics")
        assert spec is not None
        assert spec.origin is not None
        state = read_weights(Path(spec.origin).parent / "functional/image/lpips_models/vgg.pth")
        return cls(network, LPIPS_LAYERS, [state[f"lin{k}.model.1.weight"].flatten() for k in range(len(LPIPS_LAYERS))])

    def __call__(self, images: Tensor, others: Tensor) -> Tensor:
        """Return the distances (B,) of pairs of images (B, 3, H, W) in [0, 1], with gradients to both."""
        both = self.interpretee.features(torch.cat([images, others]).float(), self.layers)
        for layer, z in both.items():
            if z.ndim != 4:
                raise SettingsError(
                    f"A perceptual distance takes layers of maps, and '{layer}' is not one",
                    expected="(B, C, H, W)",
                    got=tuple(z.shape),
                )
        total = torch.zeros(len(images), device=images.device)
        for k, layer in enumerate(self.layers):
            z = both[layer]
            z = z * (z.square().sum(1, keepdim=True) + 1e-8).rsqrt()
            squares = (z[: len(images)] - z[len(images) :]).square().flatten(2).mean(2)
            total = total + (squares.mean(1) if self.heads is None else squares @ self.heads[k].to(squares.device))
        return total

    def fingerprint(self) -> str:
        """Return a hash of everything that the distance depends on."""
        return content_hash(self.interpretee.fingerprint(), self.layers, *(self.heads or []))

"""Features for Fréchet and kernel distances."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from invkit.core import Interpretee
from invkit.data import ImageSet
from invkit.errors import ArtefactError, PluginError
from invkit.interpretees import ModuleInterpretee, read_weights

__all__ = ["Features"]

_BATCH = 64


@dataclass(frozen=True)
class Features:
    """A network's layer whose features a distance is computed in; maps and tokens are averaged over positions.

    Attributes:
        interpretee: the network.
        layer: address of the layer.

    Example:
        >>> features = Features(explanation.model, "0")
        >>> features.of(explanation.held_out.data.images(slice(3))).shape
        torch.Size([3, 4])
    """

    interpretee: Interpretee
    layer: str

    def of(self, images: Tensor | ImageSet) -> Tensor:
        """Return the features (B, C) of images (B, 3, S, S) in [0, 1], or of an image set."""
        parts = images.batches(_BATCH) if isinstance(images, ImageSet) else images.split(_BATCH)
        return torch.cat([_pooled(self.interpretee.represent(part, [self.layer])[self.layer]) for part in parts])

    @classmethod
    def inception(cls, weights: str | Path | None = None, *, local_files_only: bool = False) -> Features:
        """Return the network of the published FID and KID: Inception of 2015, its 2,048 pooled features.

        The network, its resizing to 299 px and its weights are those of torch-fidelity.

        Args:
            weights: file of torch-fidelity's weights; None for torch's hub folder, with a download of 91 MB if needed.
            local_files_only: never download.

        Raises:
            PluginError: torch-fidelity is not installed.
            ArtefactError: the weights are missing, damaged, or of another network.
        """
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
        except ImportError as error:
            raise PluginError(
                "Inception's network is torch-fidelity's, which is not installed",
                expected="torch-fidelity, or `Features(interpretee, layer)` of another network",
                hint="pip install torch-fidelity.",
            ) from error
        file = Path(weights) if weights is not None else _downloaded(URL_INCEPTION_V3, local_files_only)
        read_weights(file)  # a check: torch-fidelity would execute a pickle's code
        try:
            network = FeatureExtractorInceptionV3("inception", ["2048"], str(file))
        except (RuntimeError, TypeError, UnpicklingError) as error:
            raise ArtefactError(
                f"{file} holds the weights of another network",
                expected="torch-fidelity's weights of Inception",
                got=str(error)[:200],
                hint=f"Download {URL_INCEPTION_V3} and pass the file as `weights`.",
            ) from error
        return cls(ModuleInterpretee(_Bytes(network), _to_bytes), "network.AvgPool")


class _Bytes(nn.Module):
    """Passes images as uint8, the network's input type."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.network(images.byte())[0]
        return found


def _to_bytes(images: Tensor) -> Tensor:
    return (255 * images.clamp(0, 1)).round()


def _downloaded(url: str, local_files_only: bool) -> Path:
    """Return the file at a URL, downloaded once."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not file.exists() and local_files_only:
        raise ArtefactError("Inception's weights are missing", expected=str(file), hint=f"Download {url} to that path.")
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.rsplit("-", 1)[-1])
        except (OSError, RuntimeError) as error:
            raise ArtefactError(
                "Inception's weights cannot be downloaded",
                expected=url,
                got=str(error)[:200],
                hint="Download that file elsewhere and pass its path as `weights`, or use the "
                "features of another network: `Features(interpretee, layer)`.",
            ) from error
    return file


def _pooled(z: Tensor) -> Tensor:
    """Return (B, C) of vectors (B, C), tokens (B, T, C) and maps (B, C, H, W)."""
    return z.mean(1) if z.ndim == 3 else z.flatten(2).mean(2) if z.ndim == 4 else z.flatten(1)

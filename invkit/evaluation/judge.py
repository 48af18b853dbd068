"""An independent judge: a small network that reads the concepts from an image, trained apart from all else."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invkit.data import Concept, ImageSet, evenly_spaced
from invkit.training import Task

__all__ = ["Judge", "JudgeTask"]

_HELD_OUT_ROWS = 4096


class Judge(nn.Module):
    """Reads every concept from images: class scores, or values.

    Args:
        concepts: kind and number of outputs of each, (kind, width).
        width: channels of the first convolution.
        spans: mean and standard deviation, (n,) each, of concepts whose values are read in units of their spread.
    """

    def __init__(
        self,
        concepts: Mapping[str, tuple[str, int]],
        width: int = 32,
        spans: Mapping[str, tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        super().__init__()
        self.concepts = dict(concepts)
        layers: list[nn.Module] = []
        inputs = 3
        for k in range(3):
            layers += [
                nn.Conv2d(inputs, width << k, 3, 1 if k == 0 else 2, 1),
                nn.BatchNorm2d(width << k),
                nn.ReLU(),
            ]
            inputs = width << k
        self.trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten())
        spans = spans or {}
        self.heads = nn.ModuleDict({
            _key(name): _ValueHead(16 * inputs, *spans[name]) if name in spans else nn.Linear(16 * inputs, n)
            for name, (_, n) in concepts.items()
        })  # fmt: skip

    @classmethod
    def of(cls, data: ImageSet) -> Judge:
        """Build the judge of a data set's concepts."""
        sizes = {name: (c.kind, c.targets().shape[1]) for name, c in data.concepts.items()}
        return cls(sizes, spans=_spans(data))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return scores or values by concept, (B, n), on the judge's device, of images (B, 3, S, S) in [0, 1]."""
        images = images.to(next(self.parameters()).device)
        features = self.trunk((2 * images - 1).contiguous(memory_format=torch.channels_last))
        return {name: self.heads[_key(name)](features).float() for name in self.concepts}

    @torch.no_grad()
    def read(self, images: Tensor) -> dict[str, Tensor]:
        """Return the class numbers (B,) or values (B, n) by concept, in evaluation mode."""
        self.eval()
        parts = [self(part) for part in images.split(256)]
        whole = {name: torch.cat([part[name].cpu() for part in parts]) for name in self.concepts}
        return {n: v.argmax(1) if self.concepts[n][0] == "class" else v for n, v in whole.items()}

    @staticmethod
    def moved(edited: Tensor, own: Tensor, donor: Tensor) -> Tensor:
        """Say for each image whether a value lies nearer to the donor's than to its own, (B,) of bool.

        Args:
            edited: (B, n), what :meth:`read` gives for the edited images.
            own: for the images before.
            donor: for the donors.
        """
        return (edited - donor).norm(dim=1) < (edited - own).norm(dim=1)


def _key(concept: str) -> str:
    """Return a name that `nn.ModuleDict` takes: without dots, and none of its own methods' (`half`, `type`)."""
    return f"{concept}·" if hasattr(nn.ModuleDict(), concept) else concept.replace(".", "·")


class _ValueHead(nn.Module):
    """Values at their own scale, from a linear map that is trained in units of their spread."""

    mean: Tensor
    std: Tensor

    def __init__(self, inputs: int, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, len(mean))
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, n)."""
        return torch.addcmul(self.mean, self.std, self.linear(features).float())


def _spans(data: ImageSet) -> dict[str, tuple[Tensor, Tensor]]:
    """Return mean and standard deviation of concepts that are no classes."""
    values = {name: c.values.float() for name, c in data.concepts.items() if c.kind != "class"}
    return {name: (v.mean(0), v.std(0, correction=0).clamp(min=1e-6)) for name, v in values.items()}


class JudgeTask(Task):
    """Cross-entropy for classes, squared error for values in units of their spread.

    Args:
        module: the judge.
        data: training images with concepts.
        held_out: images to judge the judge by.
    """

    def __init__(self, module: Judge, data: ImageSet, held_out: ImageSet) -> None:
        self.title, self.module, self.rows = "judge", module, len(data)
        self._data, self._held_out = data, held_out.take(evenly_spaced(len(held_out), _HELD_OUT_ROWS))
        self._std = {name: std for name, (_, std) in _spans(data).items()}

    def loss(self, module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return the sum over concepts."""
        return self._loss(module(self._data.images(rows)), {n: c.take(rows) for n, c in self._data.concepts.items()})

    def validation_loss(self, module: nn.Module) -> float:
        """Return the same of held-out images."""
        parts = [module(part) for part in self._held_out.batches()]
        outputs = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return float(self._loss(outputs, self._held_out.concepts))

    def _loss(self, outputs: Mapping[str, Tensor], concepts: Mapping[str, Concept]) -> Tensor:
        losses = []
        for name, concept in concepts.items():
            if concept.kind == "class":
                losses.append(F.cross_entropy(outputs[name].cpu(), concept.values))
            else:
                std = self._std[name]
                losses.append(F.mse_loss(outputs[name].cpu() / std, concept.values / std))
        return torch.stack(losses).sum()

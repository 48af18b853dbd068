"""`Judge`: a small network, trained independently, that predicts the concepts of an image."""

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
    """Predicts every concept of an image: class scores, or values.

    Args:
        concepts: kind and number of outputs of each concept, (kind, n).
        width: channels of the first convolution.
        spans: mean and standard deviation, (n,) each, of concepts whose values are predicted in these units.

    Example:
        >>> judge = Judge({"digit": ("class", 10), "colour": ("value", 3)}, width=4)
        >>> {name: tuple(outputs.shape) for name, outputs in judge(torch.rand(2, 3, 16, 16)).items()}
        {'digit': (2, 10), 'colour': (2, 3)}
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
        """Build a judge for the concepts of a data set."""
        sizes = {name: (c.kind, c.targets().shape[1]) for name, c in data.concepts.items()}
        return cls(sizes, spans=_spans(data))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return scores or values by concept, (B, n), on the judge's device, for images (B, 3, S, S) in [0, 1]."""
        images = images.to(next(self.parameters()).device)
        features = self.trunk((2 * images - 1).contiguous(memory_format=torch.channels_last))
        return {name: self.heads[_key(name)](features).float() for name in self.concepts}

    @torch.no_grad()
    def read(self, images: Tensor) -> dict[str, Tensor]:
        """Predict class numbers (B,) or values (B, n) by concept, in evaluation mode."""
        self.eval()
        parts = [self(part) for part in images.split(256)]
        whole = {name: torch.cat([part[name].cpu() for part in parts]) for name in self.concepts}
        return {n: v.argmax(1) if self.concepts[n][0] == "class" else v for n, v in whole.items()}

    @staticmethod
    def moved(edited: Tensor, own: Tensor, donor: Tensor) -> Tensor:
        """Return whether each predicted value is closer to the donor's than to its own, (B,), bool.

        Args:
            edited: predictions of :meth:`read` for the edited images, (B, n).
            own: predictions for the images before the edit, (B, n).
            donor: predictions for the donors, (B, n).
        """
        return (edited - donor).norm(dim=1) < (edited - own).norm(dim=1)


def _key(concept: str) -> str:
    """Return a name that `nn.ModuleDict` accepts: without dots, and not one of its methods (`half`, `type`)."""
    return f"{concept}·" if hasattr(nn.ModuleDict(), concept) else concept.replace(".", "·")


class _ValueHead(nn.Module):
    """A linear head for values, trained in units of their standard deviation."""

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
    """Return mean and standard deviation of concepts that are not classes."""
    values = {name: c.values.float() for name, c in data.concepts.items() if c.kind != "class"}
    return {name: (v.mean(0), v.std(0, correction=0).clamp(min=1e-6)) for name, v in values.items()}


class JudgeTask(Task):
    """Training of a judge: cross-entropy for classes, squared error for values in units of their standard deviation.

    Args:
        module: the judge.
        data: training images with concepts.
        held_out: validation images with the same concepts.

    Example:
        >>> data = explanation.held_out.data
        >>> task = JudgeTask(Judge.of(data), data, data)
        >>> task.loss(task.module, torch.arange(8), torch.Generator()).shape
        torch.Size([])
    """

    def __init__(self, module: Judge, data: ImageSet, held_out: ImageSet) -> None:
        self.title, self.module, self.rows = "judge", module, len(data)
        self._data, self._held_out = data, held_out.take(evenly_spaced(len(held_out), _HELD_OUT_ROWS))
        self._std = {name: std for name, (_, std) in _spans(data).items()}

    def loss(self, module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of a batch, summed over concepts."""
        return self._loss(module(self._data.images(rows)), {n: c.take(rows) for n, c in self._data.concepts.items()})

    def validation_loss(self, module: nn.Module) -> float:
        """Return the loss on the validation images."""
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

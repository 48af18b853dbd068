"""The explained network: SqueezeNet 1.1, trained on ColorDigits with checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invkit.data import ImageSet, evenly_spaced
from invkit.interpretees import Preprocess
from invkit.training import FitSettings, Task, fit
from invkit.utils.io import content_hash, read_tensors, write_tensors
from invkit.utils.random import seeded

__all__ = ["LAYER", "PREPROCESS", "accuracy", "squeezenet", "train_checkpoints"]

#: the penultimate Fire module (paper, table S15)
LAYER = "features.11"
PREPROCESS = Preprocess(size=64, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def squeezenet(seed: int, images: Tensor | None = None) -> nn.Module:
    """Build SqueezeNet 1.1 for ten classes so that it learns from any seed.

    With torchvision's own initialisation it stays at chance for hundreds of steps, or for ever once the ReLU on
    its class scores is dead. So each convolution's output is set to zero mean for each channel and unit
    variance on a first batch (Mishkin & Matas, All you need is a good init, 2016), the last one's too: behind weights
    as faint as torchvision's, Adam moves the trunk by noise before the scores learn. The scores' bias is 3, and dropout
    is off.

    Args:
        seed: of the weights.
        images: that first batch, (B, 3, H, W); None where weights are loaded anyway.
    """
    from torchvision.models import squeezenet1_1

    with seeded(seed, "squeezenet"):
        model: nn.Module = squeezenet1_1(num_classes=10, dropout=0.0)
    if images is not None:
        _unit_variance(model, PREPROCESS(images))
    scores = model.get_submodule("classifier.1")
    assert isinstance(scores, nn.Conv2d)
    assert scores.bias is not None
    nn.init.constant_(scores.bias, 3.0)
    return model.to(memory_format=torch.channels_last)


@torch.no_grad()
def _unit_variance(model: nn.Module, inputs: Tensor) -> None:
    """Rescale every convolution, in the order in which they run."""

    def rescale(module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        assert isinstance(module, nn.Conv2d)
        assert module.bias is not None
        std, mean = output.std(), output.mean((0, 2, 3))
        module.weight.div_(std)
        module.bias.sub_(mean).div_(std)
        return (output - mean[:, None, None]) / std

    handles = [m.register_forward_hook(rescale) for m in model.modules() if isinstance(m, nn.Conv2d)]
    model(inputs)
    for handle in handles:
        handle.remove()


class _DigitTask(Task):
    def __init__(self, module: nn.Module, data: ImageSet, held_out: ImageSet) -> None:
        self.title, self.module, self.rows = "SqueezeNet", module, len(data)
        self._data, self._held_out = data, held_out

    def loss(self, module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        return F.cross_entropy(_scores(module, self._data.images(rows)), self._data.concepts["digit"].values[rows])

    def validation_loss(self, module: nn.Module) -> float:
        held_out = self._held_out
        return float(F.cross_entropy(_scores(module, held_out.images()), held_out.concepts["digit"].values))


def _scores(module: nn.Module, images: Tensor) -> Tensor:
    scores: Tensor = module(PREPROCESS(images).contiguous(memory_format=torch.channels_last))
    return scores.float()


@torch.no_grad()
def accuracy(model: nn.Module, data: ImageSet) -> float:
    """Return the share of images whose digit the model names."""
    model.eval()
    return float((_scores(model, data.images()).argmax(1) == data.concepts["digit"].values).float().mean())


def train_checkpoints(
    data: ImageSet, held_out: ImageSet, settings: FitSettings, steps: Sequence[int], *,
    seed: int, cache: Path,
) -> dict[int, nn.Module]:  # fmt: skip
    """Train, and give the network as it was after each of the steps (multiples of `evaluate_every`, or 0)."""
    key = content_hash(data.fingerprint(), vars(settings), seed)

    def path(step: int) -> Path:
        return cache / f"squeezenet-{key}-{step}.safetensors"

    def keep(step: int, module: nn.Module) -> None:
        if step in steps:
            write_tensors(path(step), module.state_dict())

    final = cache / f"squeezenet-{key}.safetensors"
    if not all(path(step).exists() for step in steps):
        final.unlink(missing_ok=True)  # a checkpoint was removed by hand
    few = held_out.take(evenly_spaced(len(held_out), 512))
    task = _DigitTask(squeezenet(seed, data.images(slice(0, None, len(data) // 128))), data, few)
    if not fit(task, settings, path=final, seed=seed, on_evaluate=keep).complete:
        raise KeyboardInterrupt  # there are no checkpoints to explain
    models = {}
    for step in steps:
        models[step] = squeezenet(seed)
        models[step].load_state_dict(read_tensors(path(step))[0])
        models[step].eval()
    return models

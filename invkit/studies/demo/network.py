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

__all__ = ["CHECKPOINTS", "LAYER", "NETWORK", "PREPROCESS", "accuracy", "squeezenet", "train_checkpoints"]

#: the penultimate Fire module (paper, table S15)
LAYER = "features.11"
PREPROCESS = Preprocess(size=48, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
#: training steps after which the network is explained
CHECKPOINTS = (0, 100, 200, 800)
NETWORK = FitSettings(
    steps=800, batch_size=64, learning_rate=1e-3, weight_decay=0.1, betas=(0.9, 0.99), warmup=0.1,
    ema=0.97, evaluate_every=100, patience=100, precision="auto",
)  # fmt: skip

_OPEN = 0.5  # mean of each channel of a convolution's output at the start; its standard deviation is below 1


def squeezenet(seed: int, images: Tensor | None = None) -> nn.Module:
    """Build SqueezeNet 1.1 for ten classes, initialised such that it learns from any seed.

    With torchvision's initialisation its accuracy stays at chance for hundreds of steps. Here each convolution is
    divided by the standard deviation of its output on a first batch (Mishkin & Matas, All you need is a good init,
    2016), and shifted to mean 0.5 per channel, which is above what is left of its standard deviation: most ReLUs then
    pass their input on. With mean 0 the digit is lost in the random layers, and accuracy is 0.35 after 500 steps
    instead of 0.96; with mean 1 `LAYER` holds the digit before training. The bias of the scores is 3, so that their
    ReLU does not die, and there is no dropout.

    Args:
        seed: of the weights.
        images: the first batch, (B, 3, H, W); None if weights are loaded afterwards.
    """
    from torchvision.models import squeezenet1_1

    with seeded(seed, "squeezenet"):
        model: nn.Module = squeezenet1_1(num_classes=10, dropout=0.0)
    if images is not None:
        _standardise_outputs(model, PREPROCESS(images))
    scores = model.get_submodule("classifier.1")
    assert isinstance(scores, nn.Conv2d)
    assert scores.bias is not None
    nn.init.constant_(scores.bias, 3.0)
    return model.to(memory_format=torch.channels_last)


@torch.no_grad()
def _standardise_outputs(model: nn.Module, inputs: Tensor) -> None:
    """Rescale weights and shift biases of all convolutions, in the order in which they run."""

    def rescale(module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        assert isinstance(module, nn.Conv2d)
        assert module.bias is not None
        std, mean = output.std(), output.mean((0, 2, 3))
        module.weight.div_(std)
        module.bias.sub_(mean).div_(std).add_(_OPEN)
        return (output - mean[:, None, None]) / std + _OPEN

    handles = [m.register_forward_hook(rescale) for m in model.modules() if isinstance(m, nn.Conv2d)]
    model(inputs)
    for handle in handles:
        handle.remove()


class _DigitTask(Task):
    """Cross-entropy of the digit.

    The gradient of each convolution is centred for each output channel (Yong et al., Gradient Centralization, ECCV
    2020). Behind ReLUs all inputs are positive: without centring Adam moves the output by the common part of its
    gradients, and noise keeps the accuracy at chance.
    """

    def __init__(self, module: nn.Module, data: ImageSet, held_out: ImageSet) -> None:
        self.title, self.module, self.rows = "SqueezeNet", module, len(data)
        self._data, self._held_out = data, held_out
        for weight in module.parameters():
            if weight.ndim == 4:
                weight.register_hook(_centred)

    def loss(self, module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        return F.cross_entropy(_scores(module, self._data.images(rows)), self._data.concepts["digit"].values[rows])

    def validation_loss(self, module: nn.Module) -> float:
        held_out = self._held_out
        return float(F.cross_entropy(_scores(module, held_out.images()), held_out.concepts["digit"].values))


def _centred(gradient: Tensor) -> Tensor:
    """Subtract the mean over the inputs of each output channel."""
    return gradient - gradient.mean((1, 2, 3), keepdim=True)


def _scores(module: nn.Module, images: Tensor) -> Tensor:
    scores: Tensor = module(PREPROCESS(images).contiguous(memory_format=torch.channels_last))
    return scores.float()


@torch.no_grad()
def accuracy(model: nn.Module, data: ImageSet) -> float:
    """Return the share of images whose digit the model names correctly."""
    model.eval()
    return float((_scores(model, data.images()).argmax(1) == data.concepts["digit"].values).float().mean())


def train_checkpoints(
    data: ImageSet, held_out: ImageSet, settings: FitSettings, steps: Sequence[int], *,
    seed: int, cache: Path,
) -> dict[int, nn.Module]:  # fmt: skip
    """Train the network, and return it as it was after each of the steps.

    Args:
        data: training images.
        held_out: images for the validation loss.
        settings: of the training.
        steps: 0, or multiples of `evaluate_every`.
        seed: of weights and batches.
        cache: folder of the checkpoints, in which they are found again.

    Raises:
        KeyboardInterrupt: training was interrupted; it resumes at the next call.
    """
    key = content_hash(data.fingerprint(), vars(settings), vars(PREPROCESS), _OPEN, seed)

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

"""A small StarGAN (Choi et al., CVPR 2018), which redraws an image with a given class; a baseline of edits."""

from __future__ import annotations

from dataclasses import asdict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from invkit.data import ImageSet, evenly_spaced
from invkit.explainer import Explainer
from invkit.training import FitSettings, Task, fit
from invkit.utils import distributed
from invkit.utils.autograd import frozen
from invkit.utils.random import seeded

__all__ = ["StarGAN", "StarGANTask", "redrawn", "trained_star_gan"]

_FIT = FitSettings(
    steps=1200, batch_size=32, learning_rate=1e-3, betas=(0.5, 0.99), ema=0.99, evaluate_every=200, precision="auto"
)
_CYCLE, _CLASS = 10.0, 1.0  # weights of the losses, as published
_HELD_OUT, _BATCH = 256, 128


class _Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + super().forward(x)
        return found


def _convolution(a: int, b: int, kernel: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(a, b, kernel, stride, (kernel - 1) // 2), nn.BatchNorm2d(b), nn.ReLU()]


class StarGAN(nn.Module):
    """Generator and discriminator, narrower than the published ones, for images of 28 to 64 px.

    The generator uses batch normalisation: the published instance normalisation loses the colour of flat areas. It
    returns a change of the image's logits; otherwise so short a training does not learn to keep the image. The
    discriminator is spectrally normalised; otherwise faint noise fools its class scores.

    Args:
        classes: number of classes.
        width: channels of the first convolution.
    """

    def __init__(self, classes: int, width: int = 16) -> None:
        super().__init__()
        self.classes = classes
        w = width
        self.generator = nn.Sequential(
            *_convolution(3 + classes, w, 3, 1),
            *_convolution(w, 2 * w, 4, 2),
            *_convolution(2 * w, 4 * w, 4, 2),
            *(_Residual(*_convolution(4 * w, 4 * w, 3, 1), nn.Conv2d(4 * w, 4 * w, 3, 1, 1)) for _ in range(2)),
            nn.Upsample(scale_factor=2),
            *_convolution(4 * w, 2 * w, 3, 1),
            nn.Upsample(scale_factor=2),
            *_convolution(2 * w, w, 3, 1),
            nn.Conv2d(w, 3, 3, 1, 1),
        )
        trunk: list[nn.Module] = []
        for a, b in ((3, 2 * w), (2 * w, 4 * w), (4 * w, 8 * w)):
            trunk += [spectral_norm(nn.Conv2d(a, b, 4, 2, 1)), nn.LeakyReLU(0.2)]
        self.critic = nn.ModuleDict({
            "trunk": nn.Sequential(*trunk),
            "source": nn.Conv2d(8 * w, 1, 3, 1, 1),
            "class": nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72 * w, classes)),
        })  # fmt: skip

    def forward(self, images: Tensor, target: Tensor) -> Tensor:
        """Redraw images (B, 3, S, S) in [0, 1] with classes (B,)."""
        wanted = F.one_hot(target, self.classes).to(images)[:, :, None, None].expand(-1, -1, *images.shape[2:])
        change = self.generator(torch.cat([2 * images - 1, wanted], 1)).float()
        change = F.interpolate(change, images.shape[2:]) if change.shape != images.shape else change
        return torch.sigmoid(change + torch.logit(images, 0.01))

    def judge(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the discriminator's scores for real images, (B, 1, h, w), and for classes, (B, K)."""
        seen = self.critic["trunk"](2 * images - 1)
        return self.critic["source"](seen).float(), self.critic["class"](seen).float()


class StarGANTask(Task):
    """Hinge loss of real and redrawn images, cross-entropy of classes, and cycle consistency.

    The published adversarial loss is Wasserstein's with a gradient penalty; this one is cheaper. Generator and
    discriminator step together; neither gets gradients of the other's loss.

    Args:
        module: the networks to train.
        data: training images.
        held_out: validation images.
        concept: name of the concept of classes.
    """

    keep_last = True  # the validation loss, of cycles, says little about redrawn images

    def __init__(self, module: StarGAN, data: ImageSet, held_out: ImageSet, concept: str) -> None:
        self.title, self.module, self.rows = "StarGAN", module, len(data)
        self._data, self._labels = data, data.concepts[concept].values
        few = held_out.take(evenly_spaced(len(held_out), _HELD_OUT))
        self._judged = (few.images(), few.concepts[concept].values)

    @property
    def parts(self) -> list[nn.Module]:
        """Generator and discriminator, whose gradients are clipped separately."""
        return list(self.module.children())

    def loss(self, module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return the sum of the generator's and the discriminator's loss."""
        assert isinstance(module, StarGAN)
        device = next(module.parameters()).device
        images, own = self._data.images(rows).to(device), self._labels[rows].to(device)
        target = own[torch.randperm(len(own), generator=generator)]
        drawn = module(images, target)
        back = (module(drawn, own) - images).abs().mean()
        with frozen(module.critic):
            source, scores = module.judge(drawn)
        fooled, named = -source.mean(), F.cross_entropy(scores, target)
        real, known = module.judge(images)
        fake, _ = module.judge(drawn.detach())
        apart, read = F.relu(1 - real).mean() + F.relu(1 + fake).mean(), F.cross_entropy(known, own)
        terms = {"back": back, "fooled": fooled, "class": named, "apart": apart, "named": read}
        self.terms = {name: float(value.detach()) for name, value in terms.items()}
        return fooled + _CLASS * named + _CYCLE * back + apart + _CLASS * read

    def validation_loss(self, module: nn.Module) -> float:
        """Return the mean absolute error of validation images redrawn with the next class and back."""
        assert isinstance(module, StarGAN)
        device, total = next(module.parameters()).device, 0.0
        images, own = self._judged
        for x, y in zip(images.split(_BATCH), own.split(_BATCH), strict=True):
            x, y = x.to(device), y.to(device)
            total += float((module(module(x, (y + 1) % module.classes), y) - x).abs().mean()) * len(x) / len(images)
        return total


def trained_star_gan(explainer: Explainer, concept: str, settings: FitSettings = _FIT) -> StarGAN:
    """Train a StarGAN on a concept of classes, or load it from the cache.

    Args:
        explainer: a fitted Explainer.
        concept: name of the concept.
        settings: settings of its training.
    """
    with seeded(explainer.seed, "build", "StarGAN"):
        module = StarGAN(explainer.train_copies.concepts[concept].classes)
    path = explainer.path("stargan", asdict(settings), concept, *explainer.labels)
    task = StarGANTask(module.to(distributed.device()), explainer.train_copies, explainer.held_out, concept)
    fit(task, settings, path=path, seed=explainer.seed, strict=True)
    return module.cpu()


@torch.no_grad()
def redrawn(module: StarGAN, images: Tensor, target: Tensor) -> Tensor:
    """Redraw images (M, 3, S, S) with classes (M,), in batches."""
    module.eval()
    return torch.cat([module(x, y) for x, y in zip(images.split(_BATCH), target.split(_BATCH), strict=True)])

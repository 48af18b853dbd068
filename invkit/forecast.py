"""What an explanation will cost on this machine: each part is tried on some images, for some steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from invkit import processes
from invkit.autoencoding import autoencoder_task
from invkit.core import Autoencoder, Interpretee
from invkit.data import Codes, Generated, ImageSet, encode_all, evenly, represent_all, rows_that_fit
from invkit.evaluation import PROBED, Estimate, concept_shares, determined_shares, invariance, probe
from invkit.explanation import Explanation, HeldOut
from invkit.explanation.fidelity import IMAGES, TIMES_SENT, measure
from invkit.flows import Embedder, InvarianceFlow, SemanticFlow
from invkit.groundwork import build_e, build_t, with_residual
from invkit.progress import spelt_bytes, spelt_time
from invkit.seeds import generator_for
from invkit.settings import AutoencoderSettings, Settings
from invkit.training import AnchorTask, FitSettings, InvarianceTask, SemanticTask, Task, held_out_nll, seconds_of_fit

__all__ = ["Cost", "Forecast", "forecast", "parts_of"]

_TRAIN, _HELD_OUT, _BATCH = 4096, 2048, 128  # images of a try
_SAMPLES, _TENTH = 10_000, 1000  # behind eq. 19 and 20, and of a try
_CARRIED = 60  # of the images that an explanation carries with it


@dataclass(frozen=True)
class Cost:
    """What a part takes.

    Attributes:
        fixed: seconds, however many images there are.
        per_image: seconds for each image, copies included.
        steps: of training, in the fixed seconds.
    """

    fixed: float = 0.0
    per_image: float = 0.0
    steps: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.fixed + other.fixed, self.per_image + other.per_image, self.steps + other.steps)

    @property
    def pace(self) -> str:
        """How fast it goes: training in steps, a pass over the data in images, for each second."""
        if self.steps:
            return f"{self.steps / self.fixed:.1f} steps/s"
        return f"{1 / self.per_image:.0f} images/s" if self.per_image and not self.fixed else ""

    def seconds(self, images: int) -> float:
        """Give the seconds for so many images."""
        return self.fixed + images * self.per_image


@dataclass(frozen=True)
class Forecast:
    """What explaining some layers will cost.

    Attributes:
        costs: by part, in their order.
        images: number of images, copies included.
        bytes_per_image: of latents.
    """

    costs: Mapping[str, Cost]
    images: int
    bytes_per_image: int

    def seconds(self, images: int | None = None) -> float:
        """Give the seconds of all parts, for these or for so many images."""
        return sum(cost.seconds(self.images if images is None else images) for cost in self.costs.values())

    def __str__(self) -> str:
        told = {name: cost.seconds(self.images) for name, cost in self.costs.items()}
        parts = ", ".join(f"{name} {spelt_time(seconds)}" for name, seconds in told.items() if seconds >= 1)
        return f"about {spelt_time(self.seconds())} ({parts}) and {spelt_bytes(self.images * self.bytes_per_image)}"


def forecast(
    images: ImageSet,
    layers: Sequence[tuple[Interpretee, Sequence[str]]],
    *,
    held_out: ImageSet | None = None,
    autoencoder: Autoencoder | None = None,
    embedder: Embedder | None = None,
    factor_sizes: Mapping[str, int] | None = None,
    settings: Settings | None = None,
) -> Forecast:
    """Try each part of an explanation, and tell what all of it will cost.

    What a cache holds is not known here.

    Args:
        images: those to explain on.
        layers: of each model.
        held_out: those to judge by; None for a share of the others.
        autoencoder: a trained one; None for one that is to be trained.
        embedder: H.
        factor_sizes: dimensions of e by concept.
        settings: None for what suits the images.

    Raises:
        InvkitError: as of :func:`invkit.explain`, where a part cannot even be begun.
    """
    settings = settings or Settings.for_images(images)
    train, test = parts_of(images, held_out, settings)
    some = evenly(len(images), min(train, _TRAIN)), evenly(len(images), min(test, _HELD_OUT))
    few = (images.take(some[0]), images.take(some[1]))  # to time work on, it matters not which
    if autoencoder is None and isinstance(images.pixels, Generated):
        autoencoder = images.pixels.autoencoder
    costs: dict[str, Cost] = {}
    if autoencoder is None:
        chosen = settings.autoencoder or AutoencoderSettings.for_images(images.size)
        autoencoder, task = autoencoder_task(*few, chosen)
        costs["autoencoder"] = Cost(seconds_of_fit(task, chosen.fit), steps=chosen.fit.steps)
    batch = images.take(evenly(len(images), _BATCH))
    costs["codes"] = Cost(per_image=_seconds(lambda: encode_all(autoencoder, batch)) / len(batch))
    tries = _Tries(settings, autoencoder, few, embedder)
    costs["z̄ alone"] = tries.prior()
    if images.concepts:
        costs["e"] = tries.e(factor_sizes or dict.fromkeys(images.concepts, 1))
    room = 2 * tries.dim
    costs["representations"], costs["t"], costs["figures"] = Cost(), Cost(), Cost()
    for interpretee, wanted in layers:
        work = partial(represent_all, interpretee, wanted, batch, progress=False)
        found = work()
        seconds = _seconds(work)
        costs["representations"] += Cost(per_image=seconds / len(batch))
        sent_back = Cost(min(IMAGES, test) * TIMES_SENT * seconds / len(batch))
        for z in found.values():
            fit, figures = tries.t(z.shape[1:])
            figures += sent_back
            costs["t"], costs["figures"] = costs["t"] + fit, costs["figures"] + figures
            room += math.prod(z.shape[1:])
    return Forecast(costs, train * settings.copies + test, 4 * room)


def parts_of(images: ImageSet, held_out: ImageSet | None, settings: Settings) -> tuple[int, int]:
    """Give about how many images, without copies, there will be to train on and to judge by (groups stay together)."""
    test = max(1, round(settings.held_out * len(images))) if held_out is None else len(held_out)
    return len(images) - test if held_out is None else len(images), test


class _Tries:
    """Flows on made-up latents of the right shapes."""

    def __init__(
        self, settings: Settings, autoencoder: Autoencoder, few: tuple[ImageSet, ImageSet], embedder: Embedder | None
    ) -> None:
        self._settings, self._few, self._embedder, self._autoencoder = settings, few, embedder, autoencoder
        self._code, self.dim = autoencoder.latent_shape, math.prod(autoencoder.latent_shape)
        self._codes = [Codes(_drawn(len(part), self.dim), torch.ones(len(part), self.dim)) for part in few]
        self._e: SemanticFlow | None = None
        self._known: dict[tuple[int, ...], tuple[Cost, Cost]] = {}

    def prior(self) -> Cost:
        """Give the cost of a t whose condition says nothing."""
        z = [_drawn(len(part), 1) for part in self._few]
        return self._fit(z, None)[0]

    def t(self, shape: tuple[int, ...]) -> tuple[Cost, Cost]:
        """Give the cost of a t of representations of a shape, and of its figures."""
        if shape not in self._known:
            batch = self._settings.fit_t.batch_size  # training holds that many, whatever they take
            rows = (max(batch, rows_that_fit(_TRAIN, shape)), rows_that_fit(_HELD_OUT, shape))
            few = [part.take(torch.arange(min(len(part), most))) for part, most in zip(self._few, rows, strict=True)]
            z = [_drawn(len(part), *shape) for part in few]
            cost, t = self._fit(z, self._embedder)
            self._known[shape] = cost, self._figures(t.cpu().eval(), z, few)
        return self._known[shape]

    def _fit(self, z: Sequence[torch.Tensor], embedder: Embedder | None) -> tuple[Cost, InvarianceFlow]:
        """Build a t and train it for some steps."""
        latents, how = self._codes[0].mean[: len(z[0])], self._settings.fit_t
        built: list[InvarianceFlow] = []
        initial = _seconds(lambda: built.append(build_t(self._settings, self._code, embedder, latents, z[0])), 1)
        task = InvarianceTask(built[0].to(processes.device()), self._codes[0], z[0], (self._codes[1], z[1]))
        return Cost(initial + seconds_of_fit(task, how), steps=how.steps), built[0]

    def _figures(self, t: InvarianceFlow, z: Sequence[torch.Tensor], few: Sequence[ImageSet]) -> Cost:
        """Try a part of each: of samples, of the images that an explanation carries with it, of the probe's."""
        share = _SAMPLES / _TENTH
        seconds = share * _seconds(lambda: invariance(t, z[1], n=_TENTH))
        if self._e is not None:
            e = self._e
            seconds += share * _seconds(
                lambda: (concept_shares(t, e, z[1], n=_TENTH), determined_shares(t, e, z[1], n=_TENTH))
            )
            seconds += self._probe(z, few)
        carried = HeldOut.of(few[1], z[1])
        rows = evenly(len(carried.data), _CARRIED)
        some = HeldOut(carried.data.take(rows), carried.z[rows])
        known = {"invariance": vars(Estimate(0.0, 0.0, 1))}  # it counts above
        tried = Explanation("", self._autoencoder, t, self._e, some, known, {}, None)
        times = len(carried.data) / len(rows)
        seconds += times * _seconds(lambda: measure(tried, n=math.ceil(IMAGES / times)), 1)
        held_out = _seconds(lambda: held_out_nll(t, self._codes[1], z[1])) / len(z[1])
        return Cost(seconds, held_out * self._settings.held_out)

    def _probe(self, z: Sequence[torch.Tensor], few: Sequence[ImageSet]) -> float:
        """Try the probe on half of its rows: its work grows with them, and with their square where they are few."""
        most = rows_that_fit(PROBED, z[0].shape[1:])
        rows = [evenly(len(part), math.ceil(min(most, len(part)) / 2)) for part in z]
        few = [part.take(own) for part, own in zip(few, rows, strict=True)]
        x = [part[own] for part, own in zip(z, rows, strict=True)]
        growth = 4 if x[0][0].numel() > len(rows[0]) else 2
        return growth * _seconds(lambda: probe(x[0], few[0].concepts, x[1], few[1].concepts, few[1].groups), 1)

    def e(self, sizes: Mapping[str, int]) -> Cost:
        """Give the cost of e with factors of these sizes."""
        sizes, concepts = with_residual(sizes, self.dim), self._few[0].concepts
        self._e = build_e(self._settings, self._code, sizes, self._codes[0].mean[:]).to(processes.device())
        parts: list[tuple[Callable[..., Task], FitSettings]]
        parts = [(AnchorTask, self._settings.fit_anchors), (SemanticTask, self._settings.fit_e)]
        total = Cost()
        for kind, how in parts:
            task = kind(self._e, self._codes[0], concepts, (self._codes[1], self._few[1].concepts))
            total += Cost(seconds_of_fit(task, how), steps=how.steps)
        self._e.cpu().eval()  # figures are taken there
        return total


def _drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator_for(0, "forecast"))


def _seconds(work: Callable[[], Any], times: int = 2) -> float:
    """Time some work: the fastest of a few, so that what happens once is not counted."""
    taken = []
    for _ in range(times):
        begun = time.monotonic()
        work()
        taken.append(time.monotonic() - begun)
    return min(taken)

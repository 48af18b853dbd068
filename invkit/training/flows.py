"""The tasks of training t and e (paper, sec. 3.1 and 3.2)."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from invkit.core import Posterior
from invkit.data.concepts import Concept, Pairing
from invkit.flows import InvarianceFlow, SemanticFlow, pair_nll
from invkit.flows.invariance import standard_normal_nll
from invkit.seeds import generator_for
from invkit.training.loop import Task

__all__ = ["AnchorTask", "InvarianceTask", "SemanticTask", "held_out_nll"]

_HELD_OUT_ROWS = 2048


def _rows(posterior: Posterior, rows: Tensor | slice) -> Posterior:
    return Posterior(posterior.mean[rows], posterior.std[rows])


class InvarianceTask(Task):
    """Maximise the likelihood of codes given representations; codes are drawn anew at every step.

    Args:
        module: t.
        posterior: of the codes of the training images, (N, D).
        z: their representations, (N, …).
        held_out: the same two of held-out images.
        title: shown with the progress.
    """

    def __init__(
        self,
        module: InvarianceFlow,
        posterior: Posterior,
        z: Tensor,
        held_out: tuple[Posterior, Tensor],
        title: str = "t",
    ) -> None:
        self.title, self.module, self.rows = title, module, len(z)
        self._posterior, self._z = posterior, z
        self._held_out = (_rows(held_out[0], slice(_HELD_OUT_ROWS)), held_out[1][:_HELD_OUT_ROWS])

    def loss(self, module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Give the mean −log p(z̄ | z̃) in nats per dimension."""
        assert isinstance(module, InvarianceFlow)
        latents = _rows(self._posterior, rows).sample(generator)
        return module.nll(latents, module.perceive(self._z[rows], generator)).mean() / latents.shape[1]

    def held_out(self, module: nn.Module) -> float:
        """Give the same of held-out images."""
        assert isinstance(module, InvarianceFlow)
        return float(held_out_nll(module, *self._held_out).mean())


@torch.no_grad()
def held_out_nll(module: InvarianceFlow, posterior: Posterior, z: Tensor) -> Tensor:
    """Give −log p(z̄ | z̃) of each image in nats per dimension, (N,); the same noise at every call."""
    generator = generator_for(0, "held-out")
    latents = posterior.sample(generator)
    parts = zip(latents.split(512), module.perceive(z, generator).split(512), strict=True)
    return torch.cat([module.nll(a, b) for a, b in parts]) / latents.shape[1]


class _ConceptTask(Task):
    """Train e on codes and concepts: each kind of loss prepares its targets once.

    Args:
        module: e.
        posterior: of the codes of the training images, (N, D).
        concepts: by name.
        held_out: the same two of held-out images.
    """

    def __init__(
        self,
        module: SemanticFlow,
        posterior: Posterior,
        concepts: Mapping[str, Concept],
        held_out: tuple[Posterior, Mapping[str, Concept]],
    ) -> None:
        self.module, self.rows = module, len(posterior.mean)
        self._train = (posterior, self._prepare(module, concepts))
        self._held_out = (held_out[0], self._prepare(module, held_out[1]))

    @abstractmethod
    def _prepare(self, module: SemanticFlow, concepts: Mapping[str, Concept]) -> Any:
        """Give what the loss needs of the concepts."""

    @abstractmethod
    def _loss(
        self, module: SemanticFlow, posterior: Posterior, targets: Any, rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Give the mean loss in nats per dimension."""

    def loss(self, module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Give the mean loss in nats per dimension."""
        assert isinstance(module, SemanticFlow)
        return self._loss(module, *self._train, rows, generator)

    def held_out(self, module: nn.Module) -> float:
        """Give the same of held-out images."""
        assert isinstance(module, SemanticFlow)
        rows = torch.arange(min(len(self._held_out[0].mean), _HELD_OUT_ROWS))
        return float(self._loss(module, *self._held_out, rows, generator_for(0, "held-out")))


class AnchorTask(_ConceptTask):
    """Lead e towards its concepts: each code is paired with the ideal code of its concepts' values.

    The pair likelihood starts at a saddle: its gain from a factor grows with the square of what the factor already
    holds, so a concept that nothing holds at first (a digit, at random colours) is found late or never. Here
    a factor is N(√ρ · anchor, 1 − ρ), which pulls from the first step, and under which two images of one value
    correlate by just ρ. Training then goes on with eq. 12.
    """

    title = "e, towards its concepts"

    def _prepare(self, module: SemanticFlow, concepts: Mapping[str, Concept]) -> tuple[Tensor, Tensor]:
        """Ideal factors (N, D), and which dimensions have one (D,)."""
        n, size = len(next(iter(concepts.values())).values), sum(module.factors.values())
        anchors, known = torch.zeros(n, size), torch.zeros(size, dtype=torch.bool)
        for name in module.concepts:
            place = module.slices[name]
            values = concepts[name].anchors(place.stop - place.start)
            anchors[:, place.start : place.start + values.shape[1]] = values
            known[place.start : place.start + values.shape[1]] = True
        return anchors, known

    def _loss(
        self, module: SemanticFlow, posterior: Posterior, targets: Any, rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        values, log_det = module(_rows(posterior, rows).sample(generator))
        anchors, known = targets
        ideal = anchors[rows]
        nll = pair_nll(ideal, values, known, math.sqrt(module.rho)) - standard_normal_nll(ideal) - log_det
        return nll.mean() / values.shape[1]


class SemanticTask(_ConceptTask):
    """Maximise the likelihood of pairs that share one concept, each concept equally often (eq. 12)."""

    title = "e"

    def _prepare(self, module: SemanticFlow, concepts: Mapping[str, Concept]) -> list[Pairing]:
        return [Pairing(concepts[name]) for name in module.concepts]

    def _loss(
        self, module: SemanticFlow, posterior: Posterior, targets: Any, rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        concept = torch.randint(len(targets), (len(rows),), generator=generator)
        partners = torch.stack([pairing.draw(rows, generator) for pairing in targets])
        partner = partners[concept, torch.arange(len(rows))]
        latents_a = _rows(posterior, rows).sample(generator)
        latents_b = _rows(posterior, partner).sample(generator)
        return module.nll(latents_a, latents_b, concept).mean() / (2 * latents_a.shape[1])

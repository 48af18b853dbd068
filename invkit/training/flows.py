"""The training tasks of t and e (paper, sec. 3.1 and 3.2)."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from invkit.data.concepts import Concept, Pairing
from invkit.data.imageset import evenly_spaced
from invkit.data.storage import Codes, Rows
from invkit.flows import InvarianceFlow, SemanticFlow, pair_nll
from invkit.flows.invariance import standard_normal_nll
from invkit.training.task import Task
from invkit.utils.random import generator_for
from invkit.utils.resources import in_batches, rows_in_memory

__all__ = ["AmortisedTask", "AnchorTask", "InvarianceTask", "SemanticTask", "held_out_nll"]

_HELD_OUT_ROWS, _PART = 2048, 512


class InvarianceTask(Task):
    """Maximise the likelihood of codes given representations; codes are sampled from their posteriors at each step.

    Args:
        module: t.
        codes: of the training images, (N, D).
        z: their representations, (N, …).
        held_out: the same two of validation images.
        title: name in messages and on the progress bar.

    Example:
        >>> import torch
        >>> from invkit.data import Codes
        >>> from invkit.flows import FlowSettings, InvarianceFlow
        >>> settings, drawn = FlowSettings(n_flow=2, width=8), torch.randn(32, 4)
        >>> h = settings.build_embedder((3,), 4)
        >>> t = InvarianceFlow(settings.blocks(4, h.condition_dim), h, noise_floor=0.01)
        >>> codes, z = Codes(drawn, torch.full_like(drawn, 0.1)), torch.randn(32, 3)
        >>> t.initialize(drawn, z)
        >>> task = InvarianceTask(t, codes, z, held_out=(codes, z))
        >>> task.loss(t, torch.arange(8), torch.Generator().manual_seed(0)).shape
        torch.Size([])
    """

    module: InvarianceFlow

    def __init__(
        self,
        module: InvarianceFlow,
        codes: Codes,
        z: Rows,
        held_out: tuple[Codes, Rows],
        title: str = "t",
    ) -> None:
        self.title, self.module, self.rows = title, module, len(z)
        self._codes, self._z = codes, z
        few = evenly_spaced(len(held_out[1]), rows_in_memory(_HELD_OUT_ROWS, z.shape[1:]))
        self._held_out = (Codes(held_out[0].mean[few], held_out[0].std[few]), held_out[1][few])

    def loss(self, module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return the mean −log p(z̄ | z̃) in nats per dimension."""
        assert isinstance(module, InvarianceFlow)
        latents = self._codes[rows].sample(generator).to(module.device)
        seen = module.perceive(self._z[rows].to(module.device), generator)
        return module.nll(latents, seen).mean() / latents.shape[1]

    def validation_loss(self, module: nn.Module) -> float:
        """Return the same on validation images."""
        assert isinstance(module, InvarianceFlow)
        return float(held_out_nll(module, *self._held_out).mean())


class _SharedBlocks(nn.ModuleList):
    """Flows that share their blocks, which are saved once."""

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:  # type: ignore[override]
        whole = super().state_dict(*args, **kwargs)
        return {name: value for name, value in whole.items() if name.startswith("0.") or not _of_blocks(name)}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        again = {name: state_dict[_in_first(name)] for name in super().state_dict() if _of_blocks(name)}
        return super().load_state_dict({**state_dict, **again}, strict, assign)


def _of_blocks(name: str) -> bool:
    return name.split(".", 2)[1] == "blocks"


def _in_first(name: str) -> str:
    return f"0.{name.partition('.')[2]}"


class AmortisedTask(Task):
    """Train flows of several layers that share everything but H; each batch is split over the layers.

    Args:
        tasks: one for each layer, on the same images; their flows get the blocks of the first.
        title: name in messages and on the progress bar.

    Example:
        >>> import torch
        >>> from invkit.data import Codes
        >>> from invkit.flows import FlowSettings, InvarianceFlow
        >>> settings, drawn = FlowSettings(n_flow=2, width=8), torch.randn(32, 4)
        >>> h = settings.build_embedder((3,), 4)
        >>> t = InvarianceFlow(settings.blocks(4, h.condition_dim), h, noise_floor=0.01)
        >>> codes, z = Codes(drawn, torch.full_like(drawn, 0.1)), torch.randn(32, 3)
        >>> t.initialize(drawn, z)
        >>> other = InvarianceFlow(settings.blocks(4, h.condition_dim), h, noise_floor=0.01)
        >>> other.initialize(drawn, z)
        >>> task = AmortisedTask([InvarianceTask(each, codes, z, held_out=(codes, z)) for each in (t, other)])
        >>> t.blocks is other.blocks
        True
    """

    def __init__(self, tasks: Sequence[InvarianceTask], title: str = "t of all layers") -> None:
        self.title, self.rows, self._tasks = title, tasks[0].rows, tasks
        for task in tasks[1:]:
            task.module.blocks = tasks[0].module.blocks
        self.module = _SharedBlocks(task.module for task in tasks)

    def loss(self, module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return the mean over layers of −log p(z̄ | z̃) in nats per dimension."""
        assert isinstance(module, nn.ModuleList)
        parts = zip(self._tasks, module, rows.tensor_split(len(self._tasks)), strict=True)
        return torch.stack([task.loss(t, part, generator) for task, t, part in parts if len(part)]).mean()

    def validation_loss(self, module: nn.Module) -> float:
        """Return the same on validation images."""
        assert isinstance(module, nn.ModuleList)
        return sum(task.validation_loss(t) for task, t in zip(self._tasks, module, strict=True)) / len(self._tasks)


@torch.no_grad()
def held_out_nll(module: InvarianceFlow, codes: Codes, z: Rows) -> Tensor:
    """Return −log p(z̄ | z̃) of each image in nats per dimension, (N,), with the same noise in every call.

    Args:
        module: t.
        codes: of the images, (N, D).
        z: their representations, (N, …).

    Example:
        >>> import torch
        >>> from invkit.data import Codes
        >>> from invkit.flows import FlowSettings, InvarianceFlow
        >>> settings, drawn = FlowSettings(n_flow=2, width=8), torch.randn(32, 4)
        >>> h = settings.build_embedder((3,), 4)
        >>> t = InvarianceFlow(settings.blocks(4, h.condition_dim), h, noise_floor=0.01)
        >>> codes, z = Codes(drawn, torch.full_like(drawn, 0.1)), torch.randn(32, 3)
        >>> t.initialize(drawn, z)
        >>> held_out_nll(t, codes, z).shape
        torch.Size([32])
    """
    generator = generator_for(0, "held-out")

    def nll(rows: slice) -> Tensor:
        latents = codes[rows].sample(generator).to(module.device)
        return module.nll(latents, module.perceive(z[rows].to(module.device), generator)).cpu()

    return torch.cat(in_batches(nll, len(z), rows_in_memory(_PART, z.shape[1:]))) / codes.mean.shape[1]


class _ConceptTask(Task):
    """Train e on codes and concepts; subclasses prepare the targets of their loss once.

    Args:
        module: e.
        codes: of the training images, (N, D).
        concepts: by name.
        held_out: the same two of validation images.
    """

    def __init__(
        self,
        module: SemanticFlow,
        codes: Codes,
        concepts: Mapping[str, Concept],
        held_out: tuple[Codes, Mapping[str, Concept]],
    ) -> None:
        self.module, self.rows = module, len(codes)
        self._train = (codes, self._prepare(module, concepts))
        self._held_out = (held_out[0], self._prepare(module, held_out[1]))

    @abstractmethod
    def _prepare(self, module: SemanticFlow, concepts: Mapping[str, Concept]) -> Any:
        """Return the targets of the loss."""

    @abstractmethod
    def _loss(
        self, module: SemanticFlow, codes: Codes, targets: Any, rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return the mean loss in nats per dimension."""

    def loss(self, module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return the mean loss in nats per dimension."""
        assert isinstance(module, SemanticFlow)
        return self._loss(module, *self._train, rows, generator)

    def validation_loss(self, module: nn.Module) -> float:
        """Return the same on validation images."""
        assert isinstance(module, SemanticFlow)
        rows = evenly_spaced(len(self._held_out[0]), _HELD_OUT_ROWS)
        return float(self._loss(module, *self._held_out, rows, generator_for(0, "held-out")))


class AnchorTask(_ConceptTask):
    """Train e to map each code near the ideal code of its concepts' values, before :class:`SemanticTask`.

    The pair likelihood (eq. 12) starts at a saddle point: its gradient for a factor grows with what the factor already
    encodes, so that a concept without any linear trace at first (a digit in random colours) is learnt late or never.
    Here a factor is N(√ρ · anchor, 1 − ρ). Its gradient does not vanish at the start, and two images of one value have
    correlation ρ. Training then continues with eq. 12.

    Example:
        >>> import torch
        >>> from invkit.data import Codes, as_concept
        >>> from invkit.flows import FlowSettings, SemanticFlow
        >>> drawn = torch.randn(32, 4)
        >>> codes, concepts = Codes(drawn, torch.zeros_like(drawn)), {"kind": as_concept("kind", torch.arange(32) % 2)}
        >>> e = SemanticFlow(FlowSettings(n_flow=2, width=8).blocks(4, 0), {"residual": 3, "kind": 1})
        >>> task = AnchorTask(e, codes, concepts, held_out=(codes, concepts))
        >>> task.loss(e, torch.arange(8), torch.Generator().manual_seed(0)).shape
        torch.Size([])
    """

    title = "e, towards its concepts"

    def _prepare(self, module: SemanticFlow, concepts: Mapping[str, Concept]) -> list[tuple[slice, Tensor]]:
        """Return the slice of each concept's factors, and their ideal values (N, d)."""
        found = []
        for name in module.concepts:
            place = module.slices[name]
            values = concepts[name].anchors(place.stop - place.start)
            found.append((slice(place.start, place.start + values.shape[1]), values))
        return found

    def _loss(
        self, module: SemanticFlow, codes: Codes, targets: Any, rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        values, log_det = module(codes[rows].sample(generator).to(module.device))
        ideal, known = torch.zeros_like(values), torch.zeros(values.shape[1], dtype=torch.bool, device=values.device)
        for place, anchors in targets:
            ideal[:, place], known[place] = anchors[rows].to(ideal), True
        nll = pair_nll(ideal, values, known, math.sqrt(module.rho)) - standard_normal_nll(ideal) - log_det
        return nll.mean() / values.shape[1]


class SemanticTask(_ConceptTask):
    """Maximise the likelihood of pairs that share one concept, each concept equally often (eq. 12).

    Example:
        >>> import torch
        >>> from invkit.data import Codes, as_concept
        >>> from invkit.flows import FlowSettings, SemanticFlow
        >>> drawn = torch.randn(32, 4)
        >>> codes, concepts = Codes(drawn, torch.zeros_like(drawn)), {"kind": as_concept("kind", torch.arange(32) % 2)}
        >>> e = SemanticFlow(FlowSettings(n_flow=2, width=8).blocks(4, 0), {"residual": 3, "kind": 1})
        >>> task = SemanticTask(e, codes, concepts, held_out=(codes, concepts))
        >>> task.loss(e, torch.arange(8), torch.Generator().manual_seed(0)).shape
        torch.Size([])
    """

    title = "e"

    def _prepare(self, module: SemanticFlow, concepts: Mapping[str, Concept]) -> list[Pairing]:
        return [Pairing(concepts[name]) for name in module.concepts]

    def _loss(
        self, module: SemanticFlow, codes: Codes, targets: Any, rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        concept = torch.randint(len(targets), (len(rows),), generator=generator)
        partners = torch.stack([pairing.draw(rows, generator) for pairing in targets])
        partner = partners[concept, torch.arange(len(rows))]
        latents_a = codes[rows].sample(generator).to(module.device)
        latents_b = codes[partner].sample(generator).to(module.device)
        return module.nll(latents_a, latents_b, concept.to(module.device)).mean() / (2 * latents_a.shape[1])

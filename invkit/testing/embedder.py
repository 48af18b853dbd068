"""Checks of an embedder H, for representations of several shapes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from invkit.core import Embedder
from invkit.errors import LayerError
from invkit.testing.compare import distance, expect, expect_close, expect_within
from invkit.testing.report import Report, conclude, run_checks
from invkit.testing.state import expect_unchanged, in_mode, seeded, snapshot

__all__ = ["EMBEDDER_CHECKS", "check_embedder"]

_ROWS = 5
_OTHER_BATCH = 1e-4
_SHAPES = ((5,), (3, 5), (2, 6, 5))


@dataclass(frozen=True)
class Case:
    """An embedder of one shape, in evaluation mode, with representations z (B, *shape)."""

    shape: tuple[int, ...]
    embedder: Embedder
    z: Tensor


@dataclass(frozen=True)
class Subject:
    """A kind of embedder under test.

    Attributes:
        build: builds an embedder for (shape of z, width of the condition).
        shapes: shapes to try; a shape for which `build` raises LayerError is left out.
        condition_dim: C.
    """

    build: Callable[[tuple[int, ...], int], Embedder]
    shapes: Sequence[tuple[int, ...]] = _SHAPES
    condition_dim: int = 4

    def fresh(self, shape: tuple[int, ...], seed: int = 0) -> Embedder:
        """Build a new embedder in evaluation mode."""
        with seeded(seed):
            return self.build(shape, self.condition_dim).eval()

    @cached_property
    def cases(self) -> list[Case]:
        """A case for each shape that the embedder takes."""
        found = []
        for shape in self.shapes:
            try:
                embedder = self.fresh(shape)
            except LayerError:
                continue
            with seeded(1):
                found.append(Case(shape, embedder, torch.randn(_ROWS, *shape)))
        expect(bool(found), f"it takes none of the shapes {', '.join(map(str, self.shapes))}")
        return found


@torch.no_grad()
def it_embeds_rows(s: Subject) -> str:
    """Representations (B, *shape) have finite float32 conditions (B, C), before and after `initialize`."""
    for case in s.cases:
        embedder, expected = copy.deepcopy(case.embedder), (_ROWS, s.condition_dim)
        for what in ("new", "initialised"):
            h = embedder(case.z)
            expect(h.shape == expected, f"shape {case.shape}: conditions are {tuple(h.shape)}, not {expected}")
            expect(h.dtype == torch.float32, f"shape {case.shape}: conditions are {h.dtype}")
            expect(bool(h.isfinite().all()), f"shape {case.shape}: conditions of a {what} embedder are not finite")
            embedder.initialize(case.z, 0.1)
        width = case.embedder.condition_dim
        expect(width == s.condition_dim, f"shape {case.shape}: condition_dim is {width}, not {s.condition_dim}")
    return f"shapes {', '.join(str(case.shape) for case in s.cases)}"


@torch.no_grad()
def rows_are_independent(s: Subject) -> None:
    """In evaluation mode each row of a batch has the condition that it has alone."""
    for case in s.cases:
        whole = case.embedder(case.z)
        for k in range(_ROWS):
            alone = case.embedder(case.z[k : k + 1])
            expect_close(alone, whole[k : k + 1], _OTHER_BATCH, f"shape {case.shape}: row {k} alone and in a batch")


@torch.no_grad()
def the_representation_matters(s: Subject) -> None:
    """Other representations have other conditions."""
    for case in s.cases:
        h, other = case.embedder(case.z), case.embedder(case.z.flip(0) + 1)
        expect(distance(h, other) > 1e-6, f"shape {case.shape}: all representations have the same condition")


def every_parameter_gets_a_finite_gradient(s: Subject) -> str:
    """Conditions have a finite gradient in z and in every trainable parameter."""
    for case in s.cases:
        embedder, z = copy.deepcopy(case.embedder).train(), case.z.clone().requires_grad_()
        embedder(z).square().sum().backward()
        wanted = {name: p for name, p in embedder.named_parameters() if p.requires_grad}
        for name, tensor in {"z": z, **wanted}.items():
            expect(tensor.grad is not None, f"shape {case.shape}: '{name}' gets no gradient")
            expect(bool(torch.as_tensor(tensor.grad).isfinite().all()), f"shape {case.shape}: of '{name}' not finite")
    return f"{len(wanted)} parameters"


@torch.no_grad()
def forward_changes_no_state(s: Subject) -> None:
    """Embedding changes neither parameters nor buffers nor random states, in either mode."""
    for case in s.cases:
        for training in (True, False):
            with in_mode([case.embedder], training):
                before = snapshot([case.embedder])
                case.embedder(5 + case.z)
                expect_unchanged(before, snapshot([case.embedder]), f"shape {case.shape}: forward")


@torch.no_grad()
def initialize_changes_no_random_state(s: Subject) -> None:
    """`initialize` changes no global random state."""
    for case in s.cases:
        embedder = copy.deepcopy(case.embedder)
        before = snapshot([])
        embedder.initialize(case.z, 0.1)
        expect_unchanged(before, snapshot([]), f"shape {case.shape}: initialize")


@torch.no_grad()
def config_and_state_restore_it(s: Subject) -> None:
    """`config` can be saved as JSON, has the `shape`, and builds an equal embedder after load_state_dict."""
    for case in s.cases:
        config = json.loads(json.dumps(case.embedder.config))
        shape = tuple(config.get("shape", ()))
        expect(shape == case.shape, f"config['shape'] is {shape}, not {case.shape}")
        initialised = copy.deepcopy(case.embedder)
        initialised.initialize(case.z, 0.1)
        with seeded(2):
            other = type(initialised)(**config).eval()
        other.load_state_dict(initialised.state_dict())
        expect_within(other(case.z), initialised(case.z), 0.0, f"shape {case.shape}: loaded and saved embedder")


EMBEDDER_CHECKS: dict[str, Callable[[Subject], str | None]] = {
    check.__name__: check
    for check in (
        it_embeds_rows,
        rows_are_independent,
        the_representation_matters,
        every_parameter_gets_a_finite_gradient,
        forward_changes_no_state,
        initialize_changes_no_random_state,
        config_and_state_restore_it,
    )
}


def check_embedder(
    build: Callable[[tuple[int, ...], int], Embedder],
    *,
    shapes: Sequence[tuple[int, ...]] = _SHAPES,
    condition_dim: int = 4,
    expected_failures: Mapping[str, str] | None = None,
    raise_on_failure: bool = True,
) -> Report:
    """Check that an embedder keeps the contract of :class:`invkit.core.Embedder`.

    Args:
        build: class or function that builds an embedder for (shape of z without the batch axis, width of the
            condition). A shape for which it raises LayerError is skipped.
        shapes: shapes of z to check: by default a vector, tokens and a map.
        condition_dim: width C of the condition.
        expected_failures: reasons by names of checks that fail; EMBEDDER_CHECKS has the names.
        raise_on_failure: False returns the report in any case.

    Returns:
        the result of each check.

    Raises:
        AssertionError: a check failed unexpectedly, or an expected failure passed.
        SettingsError: an expected failure is not the name of a check.

    Example:
        >>> from invkit.flows import VectorEmbedder
        >>> from invkit.testing import check_embedder
        >>> check_embedder(VectorEmbedder, shapes=[(5,)]).passed
        True
    """
    results = run_checks(EMBEDDER_CHECKS, Subject(build, shapes, condition_dim))
    return conclude(getattr(build, "__name__", "embedder"), results, expected_failures, raise_on_failure)

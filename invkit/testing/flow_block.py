"""Checks of a flow block."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from invkit.core import FlowBlock
from invkit.errors import SettingsError
from invkit.testing.compare import distance, expect, expect_close, expect_within
from invkit.testing.report import NotApplicableError, Report, conclude, run_checks
from invkit.testing.state import expect_unchanged, in_mode, seeded, snapshot

__all__ = ["FLOW_BLOCK_CHECKS", "check_flow_block"]

_LOG_DET = 1e-9  # absolute, in float64
_INVERSE = 1e-10
_ROWS = 5


@dataclass(frozen=True)
class Case:
    """A block of one width, with data.

    Attributes:
        dim: width D.
        block: a FlowBlock, or a module that acts as one, in float64, with perturbed parameters: near the identity many
            errors do not show.
        x: (B, D).
        condition: (B, C), or None.
    """

    dim: int
    block: Any
    x: Tensor
    condition: Tensor | None

    def single(self) -> tuple[Any, Tensor, Tensor | None]:
        """Return block, x and condition in float32."""
        condition = None if self.condition is None else self.condition.float()
        return copy.deepcopy(self.block).float(), self.x.float(), condition


@dataclass(frozen=True)
class Blocks:
    """A kind of block under test.

    Attributes:
        build: function that builds a block of a width.
        dims: widths to check.
        condition_dim: width C of the condition; 0 for none.
    """

    build: Callable[[int], Any]
    dims: Sequence[int]
    condition_dim: int

    @cached_property
    def cases(self) -> list[Case]:
        """One case for each width."""
        return [self._case(dim) for dim in self.dims]

    def fresh(self, dim: int, seed: int = 0) -> Any:
        """Build a block on the CPU in float64."""
        with seeded(seed):
            return self.build(dim).to("cpu", torch.float64)

    def _case(self, dim: int) -> Case:
        block = self.fresh(dim)
        with seeded(1000 + dim):
            with torch.no_grad():
                for parameter in block.parameters():
                    if not (parameter.requires_grad and parameter.is_floating_point()):
                        continue  # FrEIA keeps permutations as parameters
                    fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
                    # sums over many inputs must not grow with their number, or rounding errors exceed the tolerances
                    parameter.add_(0.3 * min(1.0, (8 / fan_in) ** 0.5) * torch.randn_like(parameter))
            x = 2.0 * torch.randn(_ROWS, dim, dtype=torch.float64)
            condition = torch.randn(_ROWS, self.condition_dim, dtype=torch.float64) if self.condition_dim else None
        return Case(dim, block, x, condition)


def blocks_by_codes(load: Callable[..., FlowBlock], condition_dim: int = 3, width: int = 16) -> dict[str, Blocks]:
    """Return blocks to check for the codes that a registered flow block takes: ``vectors``, ``maps`` or both.

    Args:
        load: function that builds a block from the arguments of the hook `build_flow_block` except the name.
        condition_dim: width C of the condition; 0 for none.
        width: width of subnetworks.

    Raises:
        SettingsError: the block takes neither.
    """
    given = {"condition_dim": condition_dim, "width": width, "depth": 1, "seed": 0, "index": 0}

    def vectors(dim: int) -> FlowBlock:
        return load(shape=(dim,), dim=dim, **given)

    def maps(dim: int) -> FlowBlock:
        return load(shape=(dim // 4, 2, 2), dim=dim, **given)

    found, refused = {}, None
    for build, dims in ((vectors, (2, 3, 7, 8)), (maps, (4, 8, 12))):
        try:
            block = build(8)
        except SettingsError as error:
            refused = error
            continue
        if build is vectors or "shape" in getattr(block, "config", {}):
            found[build.__name__] = Blocks(build, dims, condition_dim)
    if refused is not None and not found:
        raise refused
    return found


def it_maps_rows_to_rows(s: Blocks) -> str:
    """Both directions return values (B, D) and log-determinants (B,)."""
    for case in s.cases:
        for way in (case.block, case.block.inverse):
            value, log_det = way(case.x, case.condition)
            expect(value.shape == case.x.shape, f"dim {case.dim}: values are {tuple(value.shape)}")
            expect(log_det.shape == (_ROWS,), f"dim {case.dim}: log-determinants are {tuple(log_det.shape)}")
    return f"dims {', '.join(map(str, s.dims))}"


def log_det_is_that_of_the_jacobian(s: Blocks) -> None:
    """The log-determinant is the one of autograd's Jacobian, within 1e-9 in float64, and float64 like the data."""
    for case in s.cases:
        block, c = case.block, case.condition
        expected = torch.linalg.slogdet(_jacobian(block, case.x, c)).logabsdet
        log_det = block(case.x, c).log_det
        expect(log_det.dtype == torch.float64, f"dim {case.dim}: log-determinants of float64 data are {log_det.dtype}")
        expect_within(log_det, expected, _LOG_DET, f"dim {case.dim}: log-det and the Jacobian's")


def _jacobian(block: Any, x: Tensor, condition: Tensor | None) -> Tensor:
    """Return ∂y/∂x of each row, (B, D, D), from the Jacobian of the sum over rows: rows are independent."""
    jacobian: Tensor = torch.autograd.functional.jacobian(lambda x: block(x, condition).value.sum(0), x)
    return jacobian.movedim(1, 0)


def inverse_undoes_forward(s: Blocks) -> None:
    """The inverse returns the data, within 1e-10 in float64."""
    for case in s.cases:
        back = case.block.inverse(case.block(case.x, case.condition).value, case.condition).value
        expect_within(back, case.x, _INVERSE, f"dim {case.dim}: x and inverse(forward(x))")


def inverse_negates_the_log_det(s: Blocks) -> None:
    """The log-determinant of the inverse is the negative of the forward one."""
    for case in s.cases:
        value, log_det = case.block(case.x, case.condition)
        back = case.block.inverse(value, case.condition).log_det
        expect_within(back, -log_det, _INVERSE, f"dim {case.dim}: log-det of the inverse and its negative")


def rows_are_independent(s: Blocks) -> None:
    """Each row is transformed in a batch as it is alone, in both directions."""
    for case in s.cases:
        for what, way in {"forward": case.block, "inverse": case.block.inverse}.items():
            value, log_det = way(case.x, case.condition)
            for k in range(_ROWS):
                row = slice(k, k + 1)
                alone = way(case.x[row], None if case.condition is None else case.condition[row])
                expect_close(alone[0], value[row], 1e-9, f"dim {case.dim}: row {k} of {what} alone and in a batch")
                expect_close(alone[1], log_det[row], 1e-9, f"dim {case.dim}: log-det of row {k} of {what}")


def every_parameter_gets_a_finite_gradient(s: Blocks) -> str:
    """The gradient of the likelihood reaches every parameter and is finite."""
    for case in s.cases:
        wanted = {name: p for name, p in case.block.named_parameters() if p.requires_grad}
        if not wanted:
            raise NotApplicableError("it has no parameters")
        value, log_det = case.block(case.x, case.condition)
        (value.square().sum() - log_det.sum()).backward()
        for name, parameter in wanted.items():
            expect(parameter.grad is not None, f"dim {case.dim}: '{name}' gets no gradient")
            expect(bool(torch.as_tensor(parameter.grad).isfinite().all()), f"dim {case.dim}: of '{name}' not finite")
    return f"{len(wanted)} parameters"


@torch.no_grad()
def saved_state_restores_the_map(s: Blocks) -> None:
    """A new block, and one whose parameters and buffers are zero, compute the same after load_state_dict."""
    for case in s.cases:
        zero = copy.deepcopy(case.block)
        for tensor in [*zero.parameters(), *zero.buffers()]:
            tensor.zero_()
        for other in (zero, s.fresh(case.dim, seed=1)):
            other.load_state_dict(case.block.state_dict())
            for loaded, own in zip(other(case.x, case.condition), case.block(case.x, case.condition), strict=True):
                expect_within(loaded, own, 0.0, f"dim {case.dim}: loaded and saved block")


def it_compiles_as_one_graph(s: Blocks) -> None:
    """torch.compile(fullgraph=True) compiles it, with the same results."""
    torch._dynamo.reset()
    block, x, condition = s.cases[-1].single()
    compiled = torch.compile(block, fullgraph=True, backend="eager")
    for ours, plain in zip(compiled(x, condition), block(x, condition), strict=True):
        expect_close(ours, plain, 1e-5, "compiled and plain")


def log_det_stays_in_float32_under_autocast(s: Blocks) -> None:
    """Values and log-determinants of float32 data stay float32 under bfloat16 autocast."""
    for case in s.cases:
        block, x, condition = case.single()
        with torch.autocast("cpu", torch.bfloat16):
            value, log_det = block(x, condition)
        expect(log_det.dtype == torch.float32, f"dim {case.dim}: log-determinants are {log_det.dtype}")
        expect(value.dtype == torch.float32, f"dim {case.dim}: values are {value.dtype}")


@torch.no_grad()
def the_condition_matters(s: Blocks) -> None:
    """Another condition gives other values, if the config of the block has a condition."""
    for case in s.cases:
        if case.condition is None or not any(_takes_condition(module) for module in case.block.modules()):
            raise NotApplicableError("it takes no condition")
        value = case.block(case.x, case.condition).value
        other = case.block(case.x, case.condition + 1).value
        for k in range(_ROWS):
            expect(distance(other[k], value[k]) > 1e-6, f"dim {case.dim}: another condition gives the same values")


def many_codes_of_one_condition_equal_each_alone(s: Blocks) -> None:
    """A block with `broadcasts` inverts n codes of one condition at once as it does one by one."""
    if not all(getattr(case.block, "broadcasts", False) for case in s.cases):
        raise NotApplicableError("it has no `broadcasts`")
    for case in s.cases:
        y = torch.stack([case.x, case.x.flip(0)], 1)
        c = None if case.condition is None else case.condition[:, None]
        value, log_det = case.block.inverse(y, c)
        for k in range(2):
            alone = case.block.inverse(y[:, k], case.condition)
            expect_close(value[:, k], alone.value, 1e-9, f"dim {case.dim}: code {k} of many and alone")
            expect_close(log_det[:, k], alone.log_det, 1e-9, f"dim {case.dim}: log-det of code {k} of many")


def _takes_condition(module: nn.Module) -> bool:
    return bool(module.config.get("condition_dim")) if isinstance(module, FlowBlock) else False


def forward_changes_no_state(s: Blocks) -> None:
    """The first batches of a new block change no parameters, buffers or random states, in either mode."""
    for case in s.cases:
        block = s.fresh(case.dim)
        for training in (True, False):
            with in_mode([block], training):
                before = snapshot([block])
                block(5 + case.x, case.condition)
                expect_unchanged(before, snapshot([block]), f"dim {case.dim}: forward")


FLOW_BLOCK_CHECKS: dict[str, Callable[[Blocks], str | None]] = {
    check.__name__: check
    for check in (
        it_maps_rows_to_rows,
        log_det_is_that_of_the_jacobian,
        inverse_undoes_forward,
        inverse_negates_the_log_det,
        rows_are_independent,
        every_parameter_gets_a_finite_gradient,
        saved_state_restores_the_map,
        it_compiles_as_one_graph,
        log_det_stays_in_float32_under_autocast,
        the_condition_matters,
        many_codes_of_one_condition_equal_each_alone,
        forward_changes_no_state,
    )
}


def check_flow_block(
    build: Callable[[int], Any] | FlowBlock,
    *,
    dims: Sequence[int] = (2, 3, 7, 8),
    condition_dim: int = 3,
    expected_failures: Mapping[str, str] | None = None,
    raise_on_failure: bool = True,
) -> Report:
    """Check that a block keeps the contract of :class:`invkit.core.FlowBlock`.

    Args:
        build: function from a width D to a block; or a block, whose copies are checked at its own width.
        dims: widths D to check; the last one is compiled.
        condition_dim: width C of the condition that is passed; 0 for None. A block's own config["condition_dim"] takes
            precedence. A block without one in its config is passed a condition too, which it must ignore.
        expected_failures: reasons by names of checks that fail; FLOW_BLOCK_CHECKS has the names.
        raise_on_failure: False returns the report in any case.

    Returns:
        the result of each check.

    Raises:
        AssertionError: a check failed unexpectedly, or an expected failure passed.
        SettingsError: an expected failure is not the name of a check.

    Example:
        >>> from invkit.flows import ActNorm
        >>> report = check_flow_block(ActNorm, dims=(2, 3))
        >>> report.passed
        True
    """
    name = type(build).__name__ if isinstance(build, FlowBlock) else getattr(build, "__name__", "block")
    if isinstance(build, FlowBlock):
        block, config = build, build.config
        blocks = Blocks(lambda _: copy.deepcopy(block), (block.dim,), config.get("condition_dim", condition_dim))
    else:
        blocks = Blocks(build, dims, condition_dim)
    return conclude(name, run_checks(FLOW_BLOCK_CHECKS, blocks), expected_failures, raise_on_failure)

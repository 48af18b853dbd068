"""Every check of a flow block fails for a block with that error."""

import pytest
import torch
from torch import nn

from invkit.core import FlowBlock, Transformed
from invkit.flows import ActNorm, AffineCoupling
from invkit.testing import check_flow_block
from invkit.testing.flow_block import FLOW_BLOCK_CHECKS


class Right(FlowBlock):
    """Scales and shifts each channel by a condition of three."""

    broadcasts = True

    def __init__(self, dim):
        super().__init__()
        self.config = {"dim": dim, "condition_dim": 3}
        self.log_scale = nn.Parameter(torch.zeros(dim))
        self.shift = nn.Parameter(torch.zeros(dim))
        self.weight = nn.Parameter(torch.zeros(dim, 3))

    def scales(self, condition):
        return self.log_scale + torch.tanh(condition @ self.weight.T)

    def forward(self, x, condition=None):
        log_s = self.scales(condition)
        return Transformed(x * log_s.exp() + self.shift, log_s.sum(-1))

    def inverse(self, y, condition=None):
        log_s = self.scales(condition)
        return Transformed((y - self.shift) * (-log_s).exp(), -log_s.sum(-1).expand(y.shape[:-1]))


class NarrowValue(Right):
    def forward(self, x, condition=None):
        value, log_det = super().forward(x, condition)
        return Transformed(value[:, 1:], log_det)


class LogDetOfEachChannel(Right):
    def forward(self, x, condition=None):
        return Transformed(super().forward(x, condition).value, self.scales(condition))


class LogDetWithoutSign(Right):
    def forward(self, x, condition=None):
        value, log_det = super().forward(x, condition)
        return Transformed(value, log_det.abs())


class LogDetOfTheMean(Right):
    def forward(self, x, condition=None):
        value, log_det = super().forward(x, condition)
        return Transformed(value, log_det.mean().expand(len(x)))


class WrongInverse(Right):
    def inverse(self, y, condition=None):
        value, log_det = super().inverse(y, condition)
        return Transformed(value + 1e-8, log_det)


class InverseWithForwardsLogDet(Right):
    def inverse(self, y, condition=None):
        value, log_det = super().inverse(y, condition)
        return Transformed(value, -log_det)


class Centred(Right):
    """Its rows depend on each other, but its log-determinant and inverse are correct."""

    def scales(self, condition):
        return super().scales(condition - condition.mean(0))


class Unused(Right):
    def __init__(self, dim):
        super().__init__(dim)
        self.unused = nn.Parameter(torch.zeros(1))


class EndlessGradient(Right):
    def scales(self, condition):
        return super().scales(condition) + torch.sqrt(0 * self.log_scale)


class UnsavedPermutation(Right):
    """A random permutation that is not a buffer."""

    def __init__(self, dim):
        super().__init__(dim)
        self.permutation = torch.rand(dim).argsort()

    def forward(self, x, condition=None):
        return super().forward(x[:, self.permutation], condition)

    def inverse(self, y, condition=None):
        value, log_det = super().inverse(y, condition)
        return Transformed(value[:, self.permutation.argsort()], log_det)


class UnsavedBuffer(Right):
    def __init__(self, dim):
        super().__init__(dim)
        self.register_buffer("offset", torch.ones(dim), persistent=False)

    def scales(self, condition):
        return super().scales(condition) + self.offset


class BranchOnAValue(Right):
    def scales(self, condition):
        return super().scales(condition) * (1.0 if float(condition.sum()) > -1e9 else 2.0)


class HalfUnderAutocast(Right):
    def scales(self, condition):
        return (condition @ self.weight.T) + (torch.ones_like(condition) @ self.weight.T)


class IgnoresItsCondition(Right):
    def scales(self, condition):
        return self.log_scale.expand(len(condition), -1) + 0 * condition.sum()


class InitialisesInForward(Right):
    def __init__(self, dim):
        super().__init__(dim)
        self.register_buffer("ready", torch.zeros(()))

    def forward(self, x, condition=None):
        with torch.no_grad():
            self.shift.copy_(torch.where(self.ready > 0, self.shift, -x.mean(0)))
            self.ready.fill_(1)
        return super().forward(x, condition)


class CountsWhileTraining(Right):
    def __init__(self, dim):
        super().__init__(dim)
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x, condition=None):
        if self.training:
            self.steps += 1
        return super().forward(x, condition)


class DrawsNumbers(Right):
    def forward(self, x, condition=None):
        torch.rand(1)
        return super().forward(x, condition)


class SeesTheFirstOfMany(Right):
    def inverse(self, y, condition=None):
        if y.ndim == 2:
            return super().inverse(y, condition)
        value, log_det = super().inverse(y[:, 0], condition[:, 0])
        return Transformed(value[:, None].expand_as(y), log_det[:, None].expand(y.shape[:2]))


WRONG = [
    (NarrowValue, "it_maps_rows_to_rows", "values are (5, 1)"),
    (LogDetOfEachChannel, "it_maps_rows_to_rows", "log-determinants are (5, 2)"),
    (LogDetWithoutSign, "log_det_is_that_of_the_jacobian", "log-det and the Jacobian's"),
    (LogDetWithoutSign, "inverse_negates_the_log_det", "log-det of the inverse and its negative"),
    (WrongInverse, "inverse_undoes_forward", "differ by 1e-08, more than 1e-10"),
    (InverseWithForwardsLogDet, "inverse_negates_the_log_det", "log-det of the inverse and its negative"),
    (Centred, "rows_are_independent", "row 0 of forward alone and in a batch"),
    (LogDetOfTheMean, "rows_are_independent", "log-det of row 0 of forward"),
    (Unused, "every_parameter_gets_a_finite_gradient", "'unused' gets no gradient"),
    (EndlessGradient, "every_parameter_gets_a_finite_gradient", "of 'log_scale' not finite"),
    (UnsavedPermutation, "saved_state_restores_the_map", "loaded and saved block"),
    (UnsavedBuffer, "saved_state_restores_the_map", "loaded and saved block"),
    (BranchOnAValue, "it_compiles_as_one_graph", "ata-dependent"),
    (HalfUnderAutocast, "log_det_stays_in_float32_under_autocast", "log-determinants are torch.bfloat16"),
    (IgnoresItsCondition, "the_condition_matters", "another condition gives the same values"),
    (SeesTheFirstOfMany, "many_codes_of_one_condition_equal_each_alone", "code 1 of many and alone"),
    (InitialisesInForward, "forward_changes_no_state", "the parameter 'shift', the buffer 'ready'"),
    (CountsWhileTraining, "forward_changes_no_state", "the buffer 'steps'"),
    (DrawsNumbers, "forward_changes_no_state", "torch's random state"),
]


def failures(build, **options):
    report = check_flow_block(build, dims=(2, 5), **options, raise_on_failure=False)
    return {r.name: r.message for r in report.results if r.outcome == "failed"}


@pytest.mark.parametrize(("block", "check", "message"), WRONG)
def test_each_error_fails_its_check(block, check, message):
    found = failures(block)
    assert message in found.get(check, f"passed; failed: {found}")


def test_every_check_has_a_failing_case():
    assert {check for _, check, _ in WRONG} == set(FLOW_BLOCK_CHECKS)


def test_a_correct_block_passes_all_checks_and_the_random_state_is_not_changed():
    state = torch.get_rng_state()
    report = check_flow_block(Right)
    assert [r.outcome for r in report.results] == ["passed"] * len(FLOW_BLOCK_CHECKS)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_block_is_checked_at_its_own_width_and_not_changed():
    block = AffineCoupling(6, 4, width=8)
    before = {key: value.clone() for key, value in block.state_dict().items()}
    report = check_flow_block(block)
    assert report.results[0].message == "dims 6"
    assert "skipped" not in str(report)
    for key, value in block.state_dict().items():
        assert torch.equal(value, before[key])
    assert all(p.grad is None for p in block.parameters())


def test_a_block_without_a_condition_skips_the_check_of_conditions():
    outcomes = {r.name: r.outcome for r in check_flow_block(ActNorm, dims=(3,), condition_dim=0).results}
    assert outcomes.pop("the_condition_matters") == "skipped"
    assert set(outcomes.values()) == {"passed"}


def test_arguments_that_a_block_does_not_declare_are_not_passed():
    class Alone(Right):
        broadcasts = False

    (result,) = (r for r in check_flow_block(Alone, dims=(3,)).results if r.name.startswith("many_codes"))
    assert (result.outcome, result.message) == ("skipped", "it has no `broadcasts`")

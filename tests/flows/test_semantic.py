"""e: the pair likelihood against a dense normal, factor sizes, swapping."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from invkit.errors import SettingsError
from invkit.flows import FlowSettings, SemanticFlow, estimate_factor_sizes, pair_nll


@pytest.mark.parametrize("rho", [0.3, 0.9])
@pytest.mark.parametrize("shared", [[1, 1, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1]])
def test_pair_likelihood_is_that_of_a_dense_normal(rho, shared):
    shared = torch.tensor(shared).bool()
    e_a, e_b = torch.randn(2, 7, 4, dtype=torch.float64)
    cross = rho * torch.diag(shared.double())
    covariance = torch.cat([torch.cat([torch.eye(4), cross], 1), torch.cat([cross, torch.eye(4)], 1)]).double()
    expected = -MultivariateNormal(torch.zeros(8, dtype=torch.float64), covariance).log_prob(torch.cat([e_a, e_b], 1))
    torch.testing.assert_close(pair_nll(e_a, e_b, shared, rho), expected)


def test_training_loss_adds_both_log_determinants():
    e = SemanticFlow(FlowSettings(n_flow=2, width=8).blocks(5), {"residual": 2, "a": 1, "b": 2}).double()
    with torch.no_grad():
        for parameter in e.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x, y = torch.randn(2, 6, 5, dtype=torch.float64)
    concept = torch.tensor([0, 1, 0, 1, 0, 1])
    jacobian = torch.autograd.functional.jacobian
    dets = torch.stack([
        sum(torch.linalg.slogdet(jacobian(lambda v: e(v[None]).value[0], row)).logabsdet for row in pair)
        for pair in zip(x, y, strict=True)
    ])  # fmt: skip
    masks = torch.tensor([[0, 0, 1, 0, 0], [0, 0, 0, 1, 1]]).bool()
    expected = pair_nll(e(x).value, e(y).value, masks[concept]) - dets
    torch.testing.assert_close(e.nll(x, y, concept), expected)


@pytest.mark.parametrize("factors", [{"residual": 3, "a": 3}, {"a": 5}, {"residual": 5, "a": 0}])
def test_sizes_that_do_not_fit_are_refused(factors):
    with pytest.raises(SettingsError, match="sum to 5"):
        SemanticFlow(FlowSettings(n_flow=1, width=8).blocks(5), factors)


def test_estimated_sizes_follow_what_pairs_share():
    x = torch.randn(4000, 20)
    everything, nothing = x.clone(), torch.randn(4000, 20)
    sizes = estimate_factor_sizes(x, {"all": everything, "none": nothing})
    weights = torch.tensor([1.0, 1.0, 0.0]).softmax(0) * 20  # residual scores 1, as does a full match
    assert sizes["all"] == int(weights[1])
    assert sizes["none"] == pytest.approx(float(weights[2]), abs=1)
    assert sum(sizes.values()) == 20
    assert estimate_factor_sizes(x, {"all": everything}, most={"all": 3})["all"] == 3


def test_swapping_changes_the_named_factor_and_no_other():
    e = SemanticFlow(FlowSettings(n_flow=3, width=8).blocks(6), {"residual": 2, "a": 1, "b": 3}).double()
    with torch.no_grad():
        for parameter in e.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    x, donors = torch.randn(2, 4, 6, dtype=torch.float64)
    swapped, own, theirs = (e(v).value for v in (e.swap(x, donors, "b"), x, donors))
    torch.testing.assert_close(swapped, torch.cat([own[:, :3], theirs[:, 3:]], 1))


def test_rho_zero_is_two_standard_normals():
    e_a, e_b = torch.randn(2, 3, 2, dtype=torch.float64)
    expected = 0.5 * (e_a.square() + e_b.square()).sum(1) + 2 * math.log(2 * math.pi)
    torch.testing.assert_close(pair_nll(e_a, e_b, torch.tensor([True, False]), 0.0), expected)

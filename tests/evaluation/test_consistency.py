"""Consistency of generated images, against explicit loops and closed forms."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from invkit.errors import DataError
from invkit.evaluation import agreement, consistency
from invkit.evaluation.consistency import other_rows


def test_distance_is_0_for_equal_and_1_for_random_representations():
    z = torch.randn(300, 4, 3)
    same = consistency(z, z[:, None])
    assert same.distance.value == pytest.approx(0, abs=1e-12)
    assert same.rank.value == 1.0
    any_other = consistency(z, torch.randn(300, 5, 4, 3))
    assert abs(any_other.distance.value - 1) < 3 * any_other.distance.standard_error
    assert abs(any_other.rank.value - 0.5) < 3 * any_other.rank.standard_error


def test_distance_and_rank_equal_explicit_loops_over_other_groups():
    z, made = torch.randn(12, 3) + 100, torch.randn(12, 2, 3) + 100
    groups = torch.arange(12) // 3
    moved, null, ranks = [], [], []
    for i in range(12):
        far = [(z[j] - z[i]).double().square().sum() for j in range(12) if groups[j] != groups[i]]
        null.append(sum(far) / len(far))
        for k in range(2):
            own = (made[i, k] - z[i]).double().square().sum()
            moved.append(own)
            ranks.append(sum(float(d > own) for d in far) / len(far))
    found = consistency(z, made, groups)
    assert found.distance.value == pytest.approx(float(sum(moved) / len(moved) / (sum(null) / len(null))), rel=1e-6)
    assert found.rank.value == pytest.approx(sum(ranks) / len(ranks))
    assert found.distance.n == 24


class Largest(TorchDispatchMode):
    """Records the size in bytes of the largest tensor that any operation allocates."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for each in found if isinstance(found, (tuple, list)) else [found]:
            if isinstance(each, torch.Tensor) and not function.is_view:
                self.bytes = max(self.bytes, each.numel() * each.element_size())
        return found


def test_allocates_no_tensor_larger_than_the_representations():
    z, made = torch.randn(30, 500), torch.randn(30, 8, 500)
    with Largest() as largest:
        consistency(z, made)
    assert largest.bytes <= z.double().nbytes


def test_agreement_counts_equal_decisions_and_chance():
    own = torch.eye(3)[[0, 1, 2, 0]]
    made = torch.eye(3)[torch.tensor([[0, 0], [1, 2], [0, 0], [0, 1]])]
    same, chance = agreement(own, made)
    assert same.value == pytest.approx((1 + 0.5 + 0 + 0.5) / 4)
    assert chance == pytest.approx(2 / 12)


@pytest.mark.parametrize("groups", [[3, 3, 3, 7, 7, 1, 9, 9, 1, 4], [*range(5), *range(5)], None])
def test_other_rows_are_a_permutation_into_other_groups(groups):
    groups = None if groups is None else torch.tensor(groups)
    names = torch.arange(10) if groups is None else groups
    for seed in range(20):
        other = other_rows(10, groups, seed)
        assert (names[other] != names).all()
        assert torch.equal(other.sort().values, torch.arange(10))


def test_images_of_one_group_raise():
    with pytest.raises(DataError, match=r"no other images.*4 of one group"):
        other_rows(4, torch.zeros(4, dtype=torch.long), 0)

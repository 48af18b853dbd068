"""Labels become concepts, and concepts become pairs."""

import numpy as np
import pytest
import torch

from invkit.data import Concept, Pairing, as_concept
from invkit.errors import DataError


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ([0, 1, 0], "class"),
        (["a", "b", "a"], "class"),
        (np.array([True, False, True]), "class"),
        (torch.tensor([3, 3, 9]), "class"),
        ([0.1, 0.2, 0.3], "continuous"),
        (torch.rand(3, 3), "colour"),
    ],
)
def test_the_kind_follows_from_type_and_shape(labels, kind):
    assert as_concept("c", labels).kind == kind


@pytest.mark.parametrize("labels", [[0, 1, 2], [1.0, float("nan")], np.zeros((2, 2, 2)), [None, {}]])
def test_labels_that_cannot_make_pairs_are_refused(labels):
    with pytest.raises(DataError):
        as_concept("c", labels)


def test_partners_share_the_class_and_reach_all_its_members():
    concept = as_concept("c", torch.randint(5, (200,)))
    pairing, rows = Pairing(concept), torch.arange(200).repeat(200)
    partners = pairing.draw(rows, torch.Generator().manual_seed(0))
    assert torch.equal(concept.values[partners], concept.values[rows])
    assert len(partners.unique()) == 200


@pytest.mark.parametrize("values", [torch.rand(300), torch.rand(300, 3), torch.zeros(300)])
def test_partners_of_a_quantity_are_near_in_value_and_never_oneself(values):
    pairing, rows = Pairing(as_concept("c", values)), torch.arange(300)
    partners = pairing.draw(rows, torch.Generator().manual_seed(0))
    assert (partners != rows).all()
    points = values.reshape(300, -1)
    near = (points[partners] - points).norm(dim=1).mean()
    anyone = (points[torch.randperm(300)] - points).norm(dim=1).mean()
    assert near <= 0.5 * anyone


def test_partners_of_equal_quantities_are_spread_over_all_that_share_the_value():
    values = torch.arange(4000) % 2 * 1.0
    nearest = Pairing(as_concept("smile", values)).draw(torch.arange(4000), torch.Generator().manual_seed(0))
    assert torch.equal(values[nearest], values)
    assert len(nearest.unique()) > 2000  # of partners drawn at random 1 - 1/e are distinct: 2,500
    ages = torch.cat([torch.zeros(2000), torch.arange(1.0, 2001.0).repeat_interleave(2)])  # two and two, and many
    nearest = Pairing(as_concept("age", ages)).draw(torch.arange(6000), torch.Generator().manual_seed(0))
    assert (ages[nearest] - ages).abs().max() <= 4
    assert len(nearest[:2000].unique()) > 1000


@pytest.mark.parametrize("values", [torch.rand(900), torch.rand(900, 3)])
def test_neighbours_of_distinct_values_are_just_the_nearest(values):
    concept = as_concept("age", values)
    points = concept.values / concept.values.std(0)
    distances = (points[:, None] - points).norm(dim=2).fill_diagonal_(torch.inf)
    nearest = distances.argsort(1)[:, :8]
    partners = Pairing(concept).draw(torch.arange(900).repeat(200), torch.Generator().manual_seed(0)).view(200, 900)
    found = [partners[:, row].unique().tolist() for row in range(900)]
    assert np.mean([each == sorted(near) for each, near in zip(found, nearest.tolist(), strict=True)]) > 0.99  # ties


def test_a_class_fills_one_dimension_less_than_it_has_members():
    assert as_concept("digit", torch.arange(1000) % 10).dimensions == 9
    assert as_concept("smile", torch.arange(1000) % 2).dimensions == 1
    assert as_concept("colour", torch.rand(9, 3)).dimensions == 3


def test_anchors_are_standard_and_apart():
    anchors = as_concept("digit", torch.arange(1000) % 10).anchors(9)
    torch.testing.assert_close(anchors.square().mean(), torch.tensor(1.0))
    distances = torch.pdist(anchors[:10])
    assert distances.min() > 0.9 * distances.max()  # a simplex
    ranks = as_concept("age", torch.rand(1000)).anchors(1)
    assert ranks.std() == pytest.approx(1, abs=0.02)


def test_anchors_of_very_many_classes_are_random_and_nearly_as_far_apart(monkeypatch):
    def nearest(classes):
        points = Concept("class", torch.arange(classes)).anchors(16)
        torch.testing.assert_close(points.norm(dim=1), torch.full((classes,), 4.0))
        return torch.cdist(points, points).fill_diagonal_(torch.inf).amin(1).median()

    spread = nearest(1000)
    monkeypatch.delattr(torch, "pdist")  # of all pairs; of 10,177 people that would take minutes, and is not needed
    assert nearest(1001) > 0.75 * spread
    assert nearest(1000) == spread  # computed once
    assert Concept("class", torch.arange(10_177)).anchors(64).shape == (10_177, 64)


def test_no_member_of_a_class_is_its_own_partner_unless_it_is_alone():
    concept = as_concept("who", np.array([0, 0, 0, 1, 1, 2]))
    rows = torch.arange(6).repeat(400)
    partners = Pairing(concept).draw(rows, torch.Generator().manual_seed(0)).view(400, 6)
    reached = [set(partners[:, k].tolist()) for k in range(6)]
    assert reached == [{1, 2}, {0, 2}, {0, 1}, {4}, {3}, {5}]
    counts = torch.stack([(partners[:, 0] == k).float().mean() for k in (1, 2)])
    assert counts.sub(0.5).abs().max() < 0.1


def test_anchors_of_equal_quantities_are_equal():
    anchors = as_concept("age", np.array([25.0, 30.0, 25.0, 30.0, 40.0])).anchors(1)[:, 0]
    assert anchors[0] == anchors[2] < anchors[1] == anchors[3] < anchors[4]


def test_classes_are_matched_with_another_set_by_name():
    train = as_concept("animal", np.array(["cat", "dog", "eel"] * 2))
    test = as_concept("animal", np.array(["eel", "dog", "dog", "eel"]))
    assert test.match_classes(train, "animal").values.tolist() == [2, 1, 1, 2]
    with pytest.raises(DataError, match=r"animal.*no training image.*Got: emu"):
        as_concept("animal", np.array(["emu", "emu", "dog"])).match_classes(train, "animal")
    with pytest.raises(DataError, match="another 'animal'"):
        as_concept("animal", np.array([0.5, 0.1])).match_classes(train, "animal")


def test_classes_without_names_are_the_same_in_each_part_of_a_set():
    whole = Concept("class", torch.tensor([0, 1, 1, 5]))
    train, test = whole.take(torch.tensor([0, 1, 2])), whole.take(torch.tensor([3]))
    assert test.match_classes(train, "animal").values.tolist() == [5]
    assert train.classes == test.classes == 6


def test_classes_without_names_keep_their_numbers():
    numbers = torch.tensor([2, 0, 0, 2])
    plain, named = Concept("class", torch.arange(9) % 3), as_concept("animal", np.array(["cat", "dog", "eel"] * 2))
    for other in (plain, named):
        found = Concept("class", numbers[1:3]).match_classes(other, "animal")
        assert found.values.tolist() == [0, 0]
        assert found.classes == other.classes == 3  # so that anchors and one-hot targets are the same
        with pytest.raises(DataError, match=r"animal.*no training image"):
            Concept("class", numbers + 1).match_classes(other, "animal")
    assert as_concept("animal", numbers).match_classes(plain, "animal").values.tolist() == [2, 0, 0, 2]
    with pytest.raises(DataError, match=r"Got: cat"):
        as_concept("animal", np.array(["cat", "cat"])).match_classes(plain, "animal")

"""Fingerprints: one for what is the same, another for all else."""

import itertools
import json

import pytest
import torch

from invkit.utils.io import ChunkedTensor, content_hash


def long(last):
    """More elements than torch's text of a tensor shows."""
    values = torch.zeros(2000)
    values[1000] = last
    return values


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, 23), (12, 3)),
        ((), ("",)),
        (("x",), ({}, "x")),
        (("x",), (["x"],)),
        (("a", "b"), (["a"], "b")),
        ((["a", "b"],), ("a", "b")),
        (([1, [2]],), ([[1], 2],)),
        (({"a": {"b": 1}},), ({"a": {}, "b": 1},)),
        (({"a": "b"},), (["a", "b"],)),
        ((1,), ("1",)),
        ((None,), ("null",)),
        (([long(1)],), ([long(2)],)),
        (({"a": [long(1)]},), ({"a": [long(2)]},)),
        ((torch.zeros(2), torch.zeros(3)), (torch.zeros(3), torch.zeros(2))),
        ((torch.zeros(4),), (torch.zeros(2, 2),)),
        ((torch.zeros(1),), (torch.zeros(1, dtype=torch.int32),)),
        ((torch.zeros(0, 2),), (torch.zeros(2, 0),)),
    ],
)
def test_different_things_have_different_fingerprints(one, other):
    assert content_hash(*one) != content_hash(*other)


def test_no_two_of_all_small_things_share_one():
    things = [1, 11, "", None, {}]
    for _ in range(2):
        things += [list(pair) for n in range(3) for pair in itertools.product(things[:5], repeat=n)]
        things += [{"a": value} for value in things[:5]] + [{"a": 1, "b": value} for value in things[:5]]
    texts = {json.dumps(thing): content_hash(thing) for thing in things}
    assert len(set(texts.values())) == len(texts)
    pairs = {json.dumps(pair): content_hash(*pair) for pair in itertools.product(things, repeat=2)}
    assert len(set(pairs.values())) == len(pairs)


def test_the_same_things_have_the_same_one():
    x = torch.arange(6.0).view(3, 2)
    assert content_hash({"b": 1, "a": [x]}) == content_hash({"a": (x.clone(),), "b": 1})
    assert content_hash(x.T) == content_hash(x.T.contiguous())
    assert content_hash(ChunkedTensor(x.dtype, (3, 2), [x[:1], x[1:]])) == content_hash(x)
    content = {9: [1.1, None], 10: {"x": (True,)}}
    assert content_hash(json.loads(json.dumps(content))) == content_hash(content)

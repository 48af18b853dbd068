"""Settings of a flow: embedders by name or as functions, and what is stored of them."""

import json
from functools import partial

import pytest
import torch

from invkit.errors import LayerError, SettingsError
from invkit.flows import FlowSettings, PaperVectorEmbedder, TokenEmbedder, VectorEmbedder


def narrow(shape, dim):
    return VectorEmbedder(shape, dim, 8)


@pytest.mark.parametrize("embedder", [narrow, VectorEmbedder, partial(VectorEmbedder, width=8)])
def test_a_function_builds_the_embedder(embedder):
    h = FlowSettings(embedder=embedder).build_embedder((3, 2), 6)
    assert h(torch.randn(5, 3, 2)).shape == (5, 6)


def test_an_embedder_by_name():
    assert isinstance(FlowSettings(embedder="paper").build_embedder((3,), 6), PaperVectorEmbedder)
    assert isinstance(FlowSettings(embedder="invkit:lean").build_embedder((3, 4), 6), TokenEmbedder)
    with pytest.raises(LayerError, match="shape"):
        FlowSettings(embedder="paper").build_embedder((3, 4), 6)


def test_the_width_of_the_condition_follows_the_code():
    width = lambda code, **options: FlowSettings(**options).build_embedder((3,), code).condition_dim  # noqa: E731
    assert [width(6), width((6,)), width((6, 4, 4)), width(6, condition_dim=9)] == [6, 6, 128, 9]


@pytest.mark.parametrize(
    "wrong", [lambda shape, dim: torch.nn.Linear(3, dim), lambda s, d: narrow(s, d + 1), lambda s, d: narrow((7,), d)]
)
def test_a_function_that_builds_something_else_is_refused(wrong):
    with pytest.raises(
        SettingsError, match=r"does not fit a layer of shape \(3,\).*config\['shape'\] \(3,\) and condition_dim 6"
    ):
        FlowSettings(embedder=wrong).build_embedder((3,), 6)


@pytest.mark.parametrize(
    ("embedder", "name"),
    [
        ("lean", "lean"),
        (VectorEmbedder, "invkit.flows.embedders:VectorEmbedder"),
        (partial(VectorEmbedder, width=8), "invkit.flows.embedders:VectorEmbedder(width=8)"),
        (narrow, f"{narrow.__module__}:narrow"),
    ],
)
def test_settings_are_stored_as_json(embedder, name):
    settings = FlowSettings(width=7, embedder=embedder)
    stored = json.loads(json.dumps(settings.to_dict()))
    assert stored["embedder"] == name
    assert FlowSettings(**{**stored, "embedder": embedder}) == settings

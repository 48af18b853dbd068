"""Autoencoders by name and from folders: ready for use, or an error that says why not."""

import json

import pytest
import torch

from invkit.autoencoders import ConvAutoencoder, load_autoencoder
from invkit.errors import ArtefactError


def test_a_built_in_one_comes_in_evaluation_mode(tmp_path):
    torch.save(ConvAutoencoder().state_dict(), tmp_path / "weights.pt")
    for weights in ("random", tmp_path / "weights.pt"):
        assert not any(module.training for module in load_autoencoder("invkit:conv", weights=weights).modules())


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ({}, "not a built-in autoencoder"),
        ({"autoencoder": {"class": "ConvAutoencoder", "image_size": 28, "norm": "group"}}, "another version.*'norm'"),
    ],
)
def test_a_manifest_that_this_version_cannot_follow_is_refused(manifest, words, tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"kind": "autoencoder", **manifest}))
    with pytest.raises(ArtefactError, match=words):
        load_autoencoder(tmp_path)

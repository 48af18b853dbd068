"""Shared by all tests: a fixed seed, no network, small networks of diffusers, an empty cache of the hub."""

import socket

import diffusers
import huggingface_hub.constants
import pytest
import torch
from invkit_diffusers.codebook import scatter


def options_of(class_name, stages):
    """Options of a small network that halves the sides once less than it has stages."""
    if class_name == "AutoencoderTiny":
        channels, blocks = (8,) * stages, (1,) * stages
        return {
            "encoder_block_out_channels": channels,
            "decoder_block_out_channels": channels,
            "num_encoder_blocks": blocks,
            "num_decoder_blocks": blocks,
        }
    options = {
        "block_out_channels": (8, 16, 16, 16)[:stages],
        "down_block_types": ("DownEncoderBlock2D",) * stages,
        "up_block_types": ("UpDecoderBlock2D",) * stages,
        "layers_per_block": 1,
        "norm_num_groups": 4,
    }
    return {**options, "num_vq_embeddings": 64} if class_name == "VQModel" else options


@pytest.fixture(autouse=True)
def _seeded_and_offline(monkeypatch):
    def refuse(*_arguments, **_options):
        raise OSError("no network in tests")

    torch.manual_seed(0)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def build():
    """Build a small network in eval mode."""

    def build(class_name, stages=2, **options):
        network = getattr(diffusers, class_name)(**{**options_of(class_name, stages), **options}).eval()
        if class_name == "VQModel":
            scatter(network)
        return network

    return build


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub; gives a function that makes the folder of a repository in it."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def snapshot(repository, revision="main"):
        folder = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        commit = ("a" if revision == "main" else "b") * 40
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / revision).write_text(commit)
        (folder / "snapshots" / commit).mkdir(parents=True)
        return folder / "snapshots" / commit

    return snapshot

"""Latents of all images: batches, evaluation mode."""

import pytest
import torch
from torch import nn

from invkit.autoencoders import ConvAutoencoder
from invkit.data import ImageSet, decode_all, encode_all, latents, represent_all
from invkit.interpretees import ModuleInterpretee, Preprocess


@pytest.mark.parametrize("on_gpu", [False, True])
def test_the_batch_size_depends_on_the_device_of_the_model_not_of_the_machine(on_gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    if on_gpu:
        monkeypatch.setattr(nn.Parameter, "is_cuda", property(lambda _: True), raising=False)
    seen, model = [], ModuleInterpretee(nn.Sequential(nn.Conv2d(3, 1, 3, 100)), Preprocess())
    model.module.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    images = ImageSet(torch.zeros(12, 3, 1, 1, dtype=torch.uint8).expand(12, 3, 256, 256))
    represent_all(model, ["0"], images)
    assert max(seen) == (12 if on_gpu else latents._PIXELS // 256**2)


def test_autoencoders_in_training_mode_are_used_in_evaluation_mode():
    autoencoder, codes = ConvAutoencoder(28, 8, 8), torch.randn(16, 8)
    images, before = torch.rand(16, 3, 28, 28), {k: v.clone() for k, v in autoencoder.state_dict().items()}
    for work in (
        lambda rows: decode_all(autoencoder.train(), codes[rows]),
        lambda rows: encode_all(autoencoder.train(), ImageSet(images[rows])).mean,
    ):
        torch.testing.assert_close(work(slice(None))[:4], work(slice(4)))
        assert all(torch.equal(value, before[name]) for name, value in autoencoder.state_dict().items())

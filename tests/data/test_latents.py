"""What models and autoencoders make of all images."""

import pytest
import torch
from torch import nn

from invkit.data import ImageSet, latents, represent_all
from invkit.interpretees import ModuleInterpretee, Preprocess


@pytest.mark.parametrize("on_gpu", [False, True])
def test_the_batch_goes_by_where_the_model_is_and_not_by_what_the_machine_has(on_gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    if on_gpu:
        monkeypatch.setattr(nn.Parameter, "is_cuda", property(lambda _: True), raising=False)
    seen, model = [], ModuleInterpretee(nn.Sequential(nn.Conv2d(3, 1, 3, 100)), Preprocess())
    model.module.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    images = ImageSet(torch.zeros(12, 3, 1, 1, dtype=torch.uint8).expand(12, 3, 256, 256))
    represent_all(model, ["0"], images, progress=False)
    assert max(seen) == (12 if on_gpu else latents._PIXELS // 256**2)

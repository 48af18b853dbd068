"""The demo's SqueezeNet: initialisation and gradients."""

import torch
from torch import nn

from invkit.data import color_digits
from invkit.studies.demo.network import PREPROCESS, _DigitTask, squeezenet


def test_convolutions_start_with_mean_one_half_and_a_similar_scale():
    images = color_digits("test", copies=1).images(slice(32))
    model, found = squeezenet(0, images), []
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    for module in convolutions[:-1]:  # the bias of the scores is set afterwards; ReLUs work in place
        module.register_forward_hook(lambda _module, _inputs, output: found.append(output.detach().clone()))
    model(PREPROCESS(images))
    assert len(found) == len(convolutions) - 1
    for output in found:
        assert torch.allclose(output.mean((0, 2, 3)), torch.full((output.shape[1],), 0.5), atol=1e-3)
        assert 0.1 < float((output - 0.5).std()) < 1.1


def test_gradients_of_convolutions_are_centred():
    data = color_digits("test", copies=1).take(torch.arange(32))
    task = _DigitTask(squeezenet(0, data.images()), data, data)
    task.loss(task.module, torch.arange(8), torch.Generator()).backward()
    weights = [weight for weight in task.module.parameters() if weight.ndim == 4]
    for weight in weights:
        assert weight.grad.abs().max() > 0
        assert weight.grad.mean((1, 2, 3)).abs().max() < 1e-5 * weight.grad.abs().max() + 1e-8

import pytest
import torch
from torch import nn

import invkit
from invkit.interpretees import ModuleInterpretee

# Published by Araujo et al. (Computing receptive fields of convolutional neural networks, Distill 2019) and
# by the recursion r ← r + (k − 1) · stride over AlexNet's layers.
ALEXNET = {0: 11, 2: 19, 3: 51, 5: 67, 6: 99, 8: 131, 10: 163, 12: 195}


def fields(model, size):
    return ModuleInterpretee(model).receptive_fields(torch.full((1, 3, size, size), 0.5))


def by_gradient(model, size):
    """Return the number of columns with a gradient from the unit in the middle; positive weights cannot cancel."""
    x = torch.rand(1, 3, size, size, requires_grad=True)
    z = model(x)
    z[..., z.shape[-2] // 2, z.shape[-1] // 2].sum().backward()
    return int((x.grad.abs().sum((0, 1, 2)) > 0).sum())


def test_alexnet_has_the_published_receptive_fields():
    from torchvision.models import alexnet

    measured = fields(alexnet(weights=None).features, 448)
    assert {k: measured[str(k)] for k in ALEXNET} == ALEXNET


@pytest.mark.parametrize(("stride", "kernel", "groups"), [(1, 3, 1), (2, 5, 1), (3, 3, 3), (14, 14, 1), (4, 7, 3)])
def test_the_receptive_field_equals_the_extent_of_the_gradient(stride, kernel, groups):
    conv = nn.Conv2d(3, 6, kernel, stride, padding=kernel // 2, groups=groups)
    model = nn.Sequential(conv, nn.Conv2d(6, 3, 1), nn.AvgPool2d(2, 1))
    for parameter in model.parameters():
        nn.init.uniform_(parameter, 0.1, 1.0)
    assert fields(model, 224)["2"] == by_gradient(model, 224) == kernel + stride


def test_layers_that_mix_all_positions_have_the_whole_width():
    attends = nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.Flatten(2), nn.Softmax(-1))
    assert fields(attends, 64) == {"0": 8, "1": None, "2": 64}
    assert fields(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)), 64) == {
        "0": 3,
        "1": 64,
        "2": 64,
        "3": 64,
    }


def test_the_channels_may_be_the_last_axis():
    class Last(nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1)

    assert fields(nn.Sequential(nn.Conv2d(3, 5, 5, 2), Last(), nn.LayerNorm(5)), 64) == {"0": 5, "1": 5, "2": 5}


def test_unknown_receptive_fields_are_none():
    dilated = nn.Conv2d(3, 4, 3, dilation=2)  # the units that a column reaches have gaps
    assert fields(nn.Sequential(dilated), 64) == {"0": None}


def test_upsampling_keeps_the_receptive_field():
    upsampled = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Upsample(scale_factor=2, mode="nearest"))
    assert fields(upsampled, 64) == {"0": 3, "1": 3}


def test_layers_are_listed_with_receptive_fields():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    assert [info.receptive_field for info in invkit.layers(model)] == [3, None]
    assert [info.receptive_field for info in ModuleInterpretee(model).layers()] == [None, None]

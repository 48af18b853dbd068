"""The paper's layers have the shapes of tables S11 to S16, and are what they say."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from invkit_torchvision import load_model

# rows of the tables at 128 px: address, H × W × C or C
SQUEEZENET = [  # S14, S15
    ("input", (128, 128, 3)),
    ("features.2", (31, 31, 64)),  # Conv, ReLU, MaxPool
    ("features.3", (31, 31, 128)),  # 2 × Fire
    ("features.4", (31, 31, 128)),
    ("features.5", (15, 15, 128)),  # MaxPool
    ("features.6", (15, 15, 256)),  # 2 × Fire
    ("features.7", (15, 15, 256)),
    ("features.8", (7, 7, 256)),  # MaxPool
    ("penultimate_fire", (7, 7, 512)),  # 4 × Fire
    ("features.12", (7, 7, 512)),
    ("classifier.2", (7, 7, 1000)),  # Dropout, Conv, ReLU
    ("classifier.3", (1, 1, 1000)),  # AdaAvgPool; the table says 7 × 7 × 1000, the row above it once more
    ("output", (1000,)),
]
ALEXNET = [  # S14, S16
    ("input", (128, 128, 3)),
    ("features.2", (15, 15, 64)),  # Conv, ReLU, MaxPool
    ("features.5", (7, 7, 192)),  # Conv, ReLU, MaxPool
    ("features.7", (7, 7, 384)),  # Conv, ReLU
    ("features.8", (7, 7, 256)),  # 2 × Conv, ReLU
    ("conv5", (7, 7, 256)),
    ("features.12", (3, 3, 256)),  # MaxPool
    ("classifier.0", (9216,)),  # AdaAvgPool, Flatten
    ("fc6", (4096,)),
    ("fc7", (4096,)),
    ("fc8", (1000,)),
    ("softmax", (1000,)),
    ("output", (1000,)),
]
RESNET = [  # S11, S13
    ("input", (128, 128, 3)),
    ("conv1", (64, 64, 64)),  # Conv down
    ("maxpool", (32, 32, 64)),  # Norm, ReLU, MaxPool
    ("layer1", (32, 32, 256)),
    ("layer2", (16, 16, 512)),
    ("layer3", (8, 8, 1024)),
    ("layer4", (4, 4, 2048)),
    ("avgpool", (2048,)),
    ("fc", (1000,)),
    ("output", (1000,)),
]


def at_128(name):
    interpretee = load_model(name, "random", True)
    interpretee.preprocess = replace(interpretee.preprocess, size=128)
    return interpretee


@pytest.mark.parametrize(
    ("name", "rows"),
    [("squeezenet1_1", SQUEEZENET), ("alexnet", ALEXNET), ("resnet50", RESNET), ("resnet101", RESNET)],
)
def test_shapes_at_128_px_are_exactly_those_of_the_tables(name, rows):
    z = at_128(name).represent(torch.rand(1, 3, 150, 100), [address for address, _ in rows])
    for address, shape in rows:
        height_width_channels = z[address].permute(0, 2, 3, 1) if z[address].ndim == 4 else z[address]
        assert height_width_channels.shape == (1, *shape), address


def test_the_number_of_blocks_is_that_of_table_s13():
    addresses = [info.address for info in at_128("resnet101").layers() if info.type == "Bottleneck"]
    assert [sum(a.startswith(f"layer{k}.") for a in addresses) for k in (1, 2, 3, 4)] == [3, 4, 23, 3]


def test_alexnets_named_layers_equal_its_operations_done_by_hand():
    interpretee, x = at_128("alexnet"), torch.rand(2, 3, 128, 128)
    model = interpretee.model.eval()
    z = interpretee.represent(x, ["input", "conv5", "fc6", "fc7", "fc8", "softmax"])
    with torch.no_grad():
        conv5 = model.features[:11](z["input"])  # fifth convolution, before its ReLU
        flat = F.adaptive_avg_pool2d(F.max_pool2d(conv5.relu(), 3, 2), 6).flatten(1)
        fc6 = F.linear(flat, model.classifier[1].weight, model.classifier[1].bias)
        fc7 = F.linear(fc6.relu(), model.classifier[4].weight, model.classifier[4].bias)
        fc8 = model(z["input"])
    for name, value in {"conv5": conv5, "fc6": fc6, "fc7": fc7, "fc8": fc8, "softmax": F.softmax(fc8, 1)}.items():
        torch.testing.assert_close(z[name], value)


def test_avgpool_of_a_resnet_is_the_mean_over_layer4_as_a_vector():
    z = at_128("resnet18").represent(torch.rand(2, 3, 64, 64), ["layer4", "avgpool"])
    torch.testing.assert_close(z["avgpool"], z["layer4"].mean((2, 3)))


@pytest.mark.parametrize(("name", "address"), [("squeezenet1_1", "features.11"), ("squeezenet1_0", "features.10")])
def test_the_penultimate_fire_has_one_fire_after_it(name, address):
    interpretee = load_model(name, "random", True)
    fires = [info.address for info in interpretee.layers(torch.rand(1, 3, 64, 64)) if info.type == "Fire"]
    assert fires[-2] == address
    assert interpretee.named["penultimate_fire"].address == address

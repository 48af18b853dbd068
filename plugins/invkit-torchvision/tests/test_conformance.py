"""invkit's conformance kit on torchvision's models: a few always, all of them with `-m conformance`."""

from dataclasses import replace

import pytest
import torch
from invkit_torchvision import claim_model, load_model
from invkit_torchvision.models import DetectionInterpretee
from torch import nn
from torchvision import models

from invkit.interpretees import Preprocess
from invkit.testing import check_interpretee


def at_its_smallest(name):
    """A random model at the smallest size that it takes, 64 px or more."""
    torch.manual_seed(0)
    if name == "vit_h_14":  # by name it takes 518 px, too much for one core
        return claim_model(models.vit_h_14(image_size=112), Preprocess(112))
    interpretee = load_model(name, "random", True)
    if isinstance(interpretee, DetectionInterpretee):  # it resizes images itself
        interpretee.module.transform.min_size = (64,)
        return interpretee
    size = 224 if name.startswith(("vit", "maxvit")) else 75 if name == "inception_v3" else 64
    interpretee.preprocess = replace(interpretee.preprocess, size=size)
    return interpretee


@pytest.mark.parametrize(
    "name", ["resnet18", "squeezenet1_1", "lraspp_mobilenet_v3_large", "ssdlite320_mobilenet_v3_large"]
)
def test_some_models_pass_the_kit(name):
    check_interpretee(at_its_smallest(name))


def test_a_live_alexnet_with_narrow_classifier_passes_the_kit_at_the_papers_layers():
    model = models.alexnet(num_classes=10)
    for k, size in {1: (9216, 32), 4: (32, 32), 6: (32, 10)}.items():
        model.classifier[k] = nn.Linear(*size)
    interpretee = claim_model(model, Preprocess(64))
    check_interpretee(interpretee, layers=["conv5", "fc6", "fc7", "fc8", "softmax"])


def test_a_live_vision_transformer_passes_the_kit():
    vit = models.VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32)
    last = "encoder.layers.encoder_layer_1"
    check_interpretee(claim_model(vit, Preprocess(32)), layers=[last, f"{last}.cls", f"{last}.patches"])


@pytest.mark.conformance
@pytest.mark.parametrize("name", models.list_models(module=models))
def test_every_model_for_classification_passes_the_kit(name):
    check_interpretee(at_its_smallest(name))


@pytest.mark.conformance
@pytest.mark.parametrize(
    "name", [*models.list_models(module=models.segmentation), *models.list_models(module=models.detection)]
)
def test_every_model_for_segmentation_and_detection_passes_the_kit(name):
    check_interpretee(at_its_smallest(name))

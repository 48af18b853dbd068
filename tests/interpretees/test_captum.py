"""Captum on an interpretee: the attributions of the bare network, and an unchanged model."""

import pytest
import torch
import torchvision
from captum.attr import (
    DeepLift,
    GuidedBackprop,
    IntegratedGradients,
    LayerActivation,
    LayerGradCam,
    LayerGradientXActivation,
    LayerIntegratedGradients,
    Occlusion,
    Saliency,
)
from torch import nn

from invkit.core import Interpretee
from invkit.errors import LayerError
from invkit.interpretees import ModuleInterpretee, NamedLayer, Preprocess, TokenLayout

NORMALISED = Preprocess(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
TARGET = 3


class Bare(nn.Module):
    """The network with its preprocessing, as captum would take it without invkit."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(NORMALISED(images))


@pytest.fixture(params=["alexnet", "squeezenet1_1"])  # in-place ReLUs, dropout
def pair(request):
    """An interpretee in training mode, and the bare network in evaluation mode, of the same weights."""
    torch.manual_seed(0)
    network = getattr(torchvision.models, request.param)(num_classes=10)
    bare = Bare(getattr(torchvision.models, request.param)(num_classes=10)).eval()
    bare.network.load_state_dict(network.state_dict())
    return ModuleInterpretee(network.train(), NORMALISED), bare


@pytest.fixture
def images():
    return torch.rand(2, 3, 64, 64)


def same(found, expected):
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (Saliency, {}),
        (IntegratedGradients, {"n_steps": 8}),
        (Occlusion, {"sliding_window_shapes": (3, 32, 32), "strides": (3, 32, 32), "perturbations_per_eval": 4}),
    ],
)
@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already")
def test_input_attributions_equal_those_of_the_bare_network(pair, images, method, options):
    interpretee, bare = pair
    found = method(interpretee).attribute(images, target=TARGET, **options)
    same(found.detach(), method(bare).attribute(images.clone(), target=TARGET, **options).detach())


@pytest.mark.parametrize(
    ("method", "layer"),
    [
        (LayerActivation, "features.3"),  # in AlexNet a ReLU in place comes next
        (LayerActivation, "features.4"),
        (LayerGradCam, "features.3"),
        (LayerGradCam, "features.4"),
        (LayerGradientXActivation, "features.3"),
        (LayerIntegratedGradients, "features.4"),  # captum itself cannot do it before a ReLU in place
    ],
)
def test_layer_attributions_by_address_equal_those_of_the_bare_network(pair, images, method, layer):
    interpretee, bare = pair
    options = {} if method is LayerActivation else {"target": TARGET}
    options |= {"n_steps": 4} if method is LayerIntegratedGradients else {}
    found = method(interpretee, interpretee.module_at(layer)).attribute(images, **options)
    same(found.detach(), method(bare, bare.network.get_submodule(layer)).attribute(images, **options).detach())


@pytest.mark.parametrize("method", [DeepLift, GuidedBackprop])
@pytest.mark.filterwarnings("ignore:(Setting forward|Input Tensor 0 did not|Setting backward)")
def test_methods_that_hook_the_whole_model_take_the_interpretee_as_a_module(images, method):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 5, 4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(200, 5),
    )
    options = {"target": TARGET} | ({"baselines": torch.zeros_like(images)} if method is DeepLift else {})
    expected = method(Bare(network)).attribute(images.clone(), **options).detach()
    module = ModuleInterpretee(network, NORMALISED).as_module()
    same(method(module).attribute(images.clone(), **options).detach(), expected)
    assert [*module.model.children()] == [*network.children()]


def test_gradients_reach_only_the_images_and_the_model_is_not_changed(pair, images):
    interpretee, _ = pair
    interpretee.module.features[0].weight.requires_grad_(False)
    before = [(p.requires_grad, p.clone()) for p in interpretee.module.parameters()]
    modes = [m.training for m in interpretee.module.modules()]
    random = torch.get_rng_state()
    own = images.clone().requires_grad_()
    interpretee(own)[:, TARGET].sum().backward()
    assert own.grad.abs().sum() > 0
    assert torch.equal(own.detach(), images)
    assert [m.training for m in interpretee.module.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    for parameter, (learned, value) in zip(interpretee.module.parameters(), before, strict=True):
        assert parameter.grad is None
        assert parameter.requires_grad == learned
        assert torch.equal(parameter, value)
    assert not any(m._forward_hooks for m in interpretee.module.modules())


def test_a_call_returns_the_decision_without_a_graph_if_none_is_recorded(pair, images):
    interpretee, _ = pair
    own = images.requires_grad_()
    assert torch.equal(interpretee(own), interpretee.decide(own))
    with torch.no_grad():
        assert not interpretee(own).requires_grad


def test_a_layer_named_output_is_the_decision_with_gradients(network):
    interpretee = ModuleInterpretee(network, named={"output": NamedLayer("4", lambda z: z.softmax(1))})
    own = torch.rand(2, 3, 8, 8, requires_grad=True)
    torch.testing.assert_close(interpretee(own), network(own).softmax(1))
    (found,) = torch.autograd.grad(interpretee(own)[:, 0].sum(), own)
    (expected,) = torch.autograd.grad(network(own).softmax(1)[:, 0].sum(), own)
    same(found, expected)


def test_any_interpretee_can_be_called():
    class Mean(Interpretee):
        def layers(self):
            return []

        def represent(self, images, layers):
            return {}

        def decide(self, images):
            return images.mean((2, 3))

        def fingerprint(self):
            return "mean"

    images = torch.rand(2, 3, 4, 4)
    found = Occlusion(Mean()).attribute(images, (3, 2, 2), (3, 2, 2), target=0)
    expected = images.reshape(2, 3, 2, 2, 2, 2)[:, 0].sum((2, 4)).repeat_interleave(2, 1).repeat_interleave(2, 2) / 16
    torch.testing.assert_close(found, expected[:, None].expand(-1, 3, -1, -1))


class Twice(nn.Module):
    """A block called twice, one never, tokens, and a nested output."""

    def __init__(self):
        super().__init__()
        self.block, self.never, self.tokens = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Flatten(2)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.tokens(self.block(self.block(x)))).mean(1)


def test_layers_that_are_not_the_whole_output_of_one_module_are_refused():
    network = Twice()
    named = {"conv5": NamedLayer("tokens"), "softmax": NamedLayer("head", lambda z: z.softmax(-1))}
    interpretee = ModuleInterpretee(network, tokens=TokenLayout(1), named=named)
    images = torch.rand(1, 3, 4, 4)
    assert interpretee.module_at("head", images) is network.head
    assert interpretee.module_at("conv5", images) is network.tokens
    for layer, told in [
        ("input", "Got: the model's input"),
        ("output", "Got: the model's output"),
        ("block", "Got: call 0 of 'block', which is called 2 times"),
        ("block@1", "Got: call 1 of 'block', which is called 2 times"),
        ("never", "which is called 0 times"),
        ("tokens.cls", "Got: a part of the output of 'tokens'"),
        ("softmax", "Got: a function of the output of 'head'"),
        ("nothing", "No layer 'nothing'"),
    ]:
        with pytest.raises(LayerError, match=told):
            interpretee.module_at(layer, images)
    assert not any(m._forward_hooks for m in network.modules())

"""Networks of one channel work from images of three, and a wrong number of channels has one clear error."""

import pytest
import torch
from torch import nn

import invkit
from invkit.errors import DataError
from invkit.interpretees import ModuleInterpretee, PerceptualDistance, Preprocess

GREY = Preprocess(mean=(0.1307,), std=(0.3081,))


class LeNet(nn.Sequential):
    """LeNet for digits of 1×28×28."""

    def __init__(self, channels=1):
        super().__init__(
            nn.Conv2d(channels, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(),
            nn.AvgPool2d(2), nn.Flatten(), nn.Linear(400, 10),
        )  # fmt: skip


class TwoInputs(nn.Module):
    def forward(self, image, text):
        return image + text


class TakesDict(nn.Module):
    def forward(self, batch):
        return batch["image"]


class TakesTuple(nn.Module):
    def forward(self, batch):
        image, text = batch
        return image + text


class OfOneSize(nn.Module):
    def forward(self, x):
        assert x.shape[-1] == 224, "not 224 px"
        return x


@pytest.fixture
def images():
    return torch.rand(2, 3, 28, 28)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (LeNet(), r"LeNet takes images of 1 channel\..*\(2, 3, 28, 28\).*Preprocess\(channels=1\).*--channels 1"),
        (LeNet().half(), r"Preprocess\(channels=1\)"),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), r"1 channel\..*Preprocess\(channels=1\)"),
        (LeNet(4), r"takes images of 4 channels.*\(B, 4, H, W\).*Pass such a function as `preprocess`"),
        (torch.compile(LeNet(), backend="eager"), r"LeNet takes images of 1 channel"),
    ],
    ids=["LeNet", "half", "perceptron", "four", "compiled"],
)
def test_another_number_of_channels_is_one_clear_error(network, words, images):
    interpretee = ModuleInterpretee(network)
    for call in (
        lambda: interpretee.represent(images, ["output"]),
        lambda: interpretee.features(images, ["output"]),
        lambda: interpretee.decide(images),
        lambda: interpretee.layers(images[:1].repeat(2, 1, 1, 1)[:1].expand(1, -1, -1, -1)),
        lambda: invkit.layers(interpretee, images),
    ):
        with pytest.raises(DataError, match=words.replace(r"\(2, 3", r"\([12], 3")):
            call()


def test_a_grey_preprocessing_for_a_network_of_colours_is_the_same_error(images):
    with pytest.raises(DataError, match=r"3 channels.*\(2, 1, 28, 28\).*Preprocess\(channels=3\)"):
        ModuleInterpretee(LeNet(3), GREY).decide(images)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (TwoInputs(), "TwoInputs cannot run.*one batch, here of shape.*missing 1 required.*'text'.*forward"),
        (TakesDict(), "TakesDict cannot run.*IndexError: too many indices.*a dict or of several tensors"),
        (TakesTuple(), "TakesTuple cannot run.*ValueError: not enough values"),
        (OfOneSize(), r"OfOneSize cannot run.*AssertionError: not 224 px.*Preprocess\(size="),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
def test_a_network_that_takes_no_batch_of_images_is_one_clear_error(network, words, images):
    for call in (ModuleInterpretee(network).decide, lambda x: invkit.layers(network, x)):
        with pytest.raises(DataError, match=words) as caught:
            call(images[:1])
        assert caught.value.__cause__ is not None


def test_errors_inside_the_network_are_left_as_they_are(images):
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(4, 8, 3))
    with pytest.raises(RuntimeError, match="to have 4 channels, but got 8"):
        ModuleInterpretee(network).decide(images)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        ModuleInterpretee(nn.Sequential(nn.Flatten(), nn.Linear(100, 10))).decide(images)


def test_a_grey_network_sees_the_luma_of_the_images(images):
    network = LeNet().eval()
    luma = (images * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    interpretee = ModuleInterpretee(network, GREY)
    with torch.no_grad():
        torch.testing.assert_close(interpretee.decide(images), network((luma - 0.1307) / 0.3081))
    assert interpretee.represent(images, ["input"])["input"].shape == (2, 1, 28, 28)


def test_half_precision_weights_of_a_grey_network_give_the_same_representations(images):
    expected = ModuleInterpretee(LeNet(), GREY)
    found = ModuleInterpretee(LeNet().half(), GREY)
    found.module.load_state_dict(expected.module.state_dict())
    a, b = (interpretee.represent(images, ["3"])["3"] for interpretee in (found, expected))
    assert a.dtype == torch.float32
    torch.testing.assert_close(a, b, atol=5e-3, rtol=1e-2)


def test_a_grey_network_takes_inputs_that_are_not_square(images):
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 18 * 38, 2))
    interpretee = ModuleInterpretee(network, Preprocess((20, 40), channels=1))
    assert interpretee.represent(images, ["0"])["0"].shape == (2, 4, 18, 38)
    assert interpretee.layers()[0].shape == (4, 18, 38)
    assert interpretee.decide(torch.rand(1, 3, 33, 17)).shape == (1, 2)


def test_the_layers_of_a_grey_module_are_listed_with_receptive_fields():
    found = {info.address: info for info in invkit.layers(LeNet(), torch.rand(1, 3, 28, 28))}
    assert (found["0"].shape, found["0"].receptive_field) == ((6, 28, 28), 5)
    assert (found["7"].shape, found["7"].receptive_field) == ((10,), 28)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1))
    assert invkit.layers(network)[0].shape == (4, 62, 62)  # without images too


def test_the_layers_of_torchvisions_network_with_another_first_convolution_are_listed():
    torchvision = pytest.importorskip("torchvision")
    network = torchvision.models.resnet18(num_classes=3)
    network.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    found = {info.address: info for info in invkit.layers(network, receptive_fields=False)}
    assert found["conv1"].shape == (64, 112, 112)  # at the size of its published weights


def test_what_an_interpretee_states_of_its_channels_is_not_overruled():
    with pytest.raises(DataError, match=r"Preprocess\(channels=1\)"):
        invkit.layers(ModuleInterpretee(nn.Conv2d(1, 4, 3), Preprocess()))


def test_gradients_of_a_grey_network_reach_the_three_channels_of_the_images(images):
    interpretee = ModuleInterpretee(LeNet(), GREY)
    x = images.requires_grad_()
    interpretee(x).sum().backward()
    assert (x.grad.flatten(2).abs().sum(2) > 0).all()
    torch.testing.assert_close(x.grad[:, 0] / 0.299, x.grad[:, 1] / 0.587)


def test_perceptual_distances_of_a_grey_network_have_gradients_to_the_images(images):
    distance = PerceptualDistance(ModuleInterpretee(LeNet(), GREY), ["0", "3"])
    x = images.requires_grad_()
    distance(x, torch.rand(2, 3, 28, 28)).sum().backward()
    assert (x.grad != 0).any(3).any(2).all()
    assert distance(images, images).max() < 1e-6


def test_attributions_of_a_grey_network_are_maps_of_three_channels(images):
    attr = pytest.importorskip("captum.attr")
    interpretee = ModuleInterpretee(LeNet(), GREY)
    found = attr.IntegratedGradients(interpretee).attribute(images, target=3, n_steps=4)
    assert found.shape == images.shape
    maps = attr.LayerGradCam(interpretee, interpretee.module_at("3", images)).attribute(images, target=3)
    assert maps.shape == (2, 1, 10, 10)


def test_a_grey_network_is_explained_end_to_end(digits, tiny, tmp_path):
    torch.manual_seed(0)
    explanation = invkit.explain(LeNet(), "3", digits, preprocess=GREY, settings=tiny, cache=tmp_path)
    images = digits.images(slice(0, 2))
    samples = explanation.sample(images, n=3)
    assert samples.shape == (2, 3, 3, 28, 28)
    assert 0 <= float(samples.min()) <= float(samples.max()) <= 1
    assert explanation.invariance() is not None
    maps = explanation.attribute(images, methods=("integrated gradients",), layer="3", n=2).maps
    assert maps["integrated gradients"].abs().amax((1, 2)).min() > 0
    explanation.save(tmp_path / "saved")
    again = invkit.Explanation.load(tmp_path / "saved", explanation.interpretee.module, preprocess=GREY)
    torch.testing.assert_close(again.represent(images), explanation.represent(images))


def test_a_grey_network_without_its_preprocessing_is_refused_before_any_training(digits, tiny, tmp_path):
    with (
        pytest.warns(invkit.errors.InvkitWarning, match="Unknown preprocessing"),
        pytest.raises(DataError, match="channels=1"),
    ):
        invkit.explain(LeNet(), "3", digits, settings=tiny, cache=tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))

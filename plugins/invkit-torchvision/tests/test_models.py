"""Models by name and live ones: their preprocessing, tokens and names."""

import pytest
import torch
from invkit_torchvision import claim_model, list_models, load_model
from torch import nn
from torchvision import models

import invkit
from invkit.errors import InvkitWarning
from invkit.interpretees import Preprocess, as_interpretee


def tiny_vit(**options):
    return models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5, **options
    )


def test_every_model_for_a_task_on_images_is_listed_and_nothing_else_loads():
    listed = list_models()
    tasks = (models, models.segmentation, models.detection)
    assert set(listed) == {name for task in tasks for name in models.list_models(module=task)}
    assert len(listed) == len(set(listed))
    assert load_model("resnet19", None, True) is None


@pytest.mark.parametrize(
    ("name", "preprocess"),
    [
        ("resnet18", Preprocess(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
        ("inception_v3", Preprocess(299, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
        ("efficientnet_b1", Preprocess(240, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
        ("swin_t", Preprocess(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bicubic")),
        ("lraspp_mobilenet_v3_large", Preprocess(520, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
    ],
)
def test_random_weights_have_the_preprocessing_of_the_default_ones(name, preprocess):
    assert load_model(name, "random", True).preprocess == preprocess


def test_an_image_of_the_crops_size_is_prepared_as_by_torchvisions_own_transforms_and_back():
    ours = load_model("squeezenet1_1", "random", True).preprocess
    x = torch.rand(2, 3, 224, 224)
    theirs = models.SqueezeNet1_1_Weights.DEFAULT.transforms(resize_size=224)(x)
    torch.testing.assert_close(ours(x), theirs)
    torch.testing.assert_close(ours.inverse(theirs), x)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (models.squeezenet1_1, ["size=224", "0.485", "SqueezeNet1_1_Weights.IMAGENET1K_V1", "preprocess="]),
        (lambda: models.efficientnet_b1(), ["size=240", "EfficientNet_B1_Weights.IMAGENET1K_V2"]),
        (lambda: models.resnet18(num_classes=10), ["size=224", "0.485"]),
        (tiny_vit, ["size=32", "0.485"]),
    ],
)
def test_a_live_model_is_claimed_with_one_warning_that_says_what_is_assumed(build, words):
    model = build()
    with pytest.warns(InvkitWarning) as told:
        interpretee = claim_model(model, None)
    assert len(told) == 1
    for word in words:
        assert word in str(told[0].message)
    assert repr(interpretee.preprocess) in str(told[0].message)
    assert interpretee.model is model


def test_a_live_model_with_preprocessing_is_claimed_silently_with_names_and_tokens():
    preprocess = Preprocess(32)
    interpretee = claim_model(tiny_vit(), preprocess)  # a warning would be an error
    assert interpretee.preprocess is preprocess
    z = interpretee.represent(
        torch.rand(2, 3, 20, 20), [f"encoder.layers.encoder_layer_1{part}" for part in ("", ".cls", ".patches")]
    )
    whole, cls, patches = z.values()
    assert (whole.shape, cls.shape, patches.shape) == ((2, 17, 16), (2, 16), (2, 16, 4, 4))
    torch.testing.assert_close(cls, whole[:, 0])
    torch.testing.assert_close(patches[:, :, 1, 2], whole[:, 1 + 4 + 2])  # row by row
    assert "avgpool" in claim_model(models.resnet18(), preprocess).named


def test_patches_lie_where_they_are_in_the_image():
    interpretee = claim_model(tiny_vit(), Preprocess())
    z = [interpretee.represent(x, ["encoder.dropout.patches"])["encoder.dropout.patches"] for x in two_images(1, 2)]
    changed = (z[0] - z[1]).abs().amax((0, 1)) > 0
    assert changed.nonzero().tolist() == [[1, 2]]


def two_images(row, column):
    """Images of 4 × 4 patches that differ in one of them."""
    one = torch.rand(1, 3, 32, 32)
    other = one.clone()
    other[:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] += 1
    return one, other


class Mine(models.ResNet):
    """A user's own: its forward pass may be anything."""


@pytest.mark.parametrize(
    "module",
    [
        nn.Linear(2, 2),
        Mine(models.resnet.BasicBlock, [1, 1, 1, 1]),
        models.resnet.BasicBlock(4, 4),
        models.squeezenet1_1().features,
    ],
)
def test_what_is_no_whole_model_of_torchvision_is_left_alone(module):
    assert claim_model(module, None) is None


def test_names_are_not_given_to_a_model_that_was_rebuilt():
    model = models.alexnet()
    model.classifier = nn.Sequential(nn.Dropout(), nn.Linear(9216, 10))
    interpretee = claim_model(model, Preprocess(64))
    assert interpretee.named == {}
    assert interpretee.layers()[-1].address == "classifier"


def test_a_segmentation_models_decision_is_its_logits_averaged_over_pixels():
    interpretee = claim_model(models.segmentation.lraspp_mobilenet_v3_large(weights_backbone=None), Preprocess(64))
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        out = interpretee.model.eval()(x)["out"]
    torch.testing.assert_close(interpretee.decide(x), out.mean((2, 3)))
    z = interpretee.represent(x, ["output.out", "output"])
    torch.testing.assert_close(z["output.out"], out)
    torch.testing.assert_close(z["output"], out.mean((2, 3)))


def detector():
    made = models.detection.fasterrcnn_mobilenet_v3_large_fpn(
        weights=None, weights_backbone=None, num_classes=5, min_size=64, box_score_thresh=0.0
    )
    return made.eval()


def test_a_detectors_decision_is_the_best_score_of_each_category():
    interpretee, x = as_interpretee(detector()), torch.rand(2, 3, 64, 64)  # and no warning: it prepares images itself
    with torch.no_grad():
        expected = [[max([0.0, *each["scores"][each["labels"] == c].tolist()]) for c in range(5)]
                    for each in interpretee.module(x)]  # fmt: skip
    assert max(map(max, expected)) > 0
    torch.testing.assert_close(interpretee.decide(x), torch.tensor(expected))
    z = interpretee.represent(x, ["output", "backbone.body.16"])
    torch.testing.assert_close(z["output"], torch.tensor(expected))
    assert z["backbone.body.16"].shape == (2, 960, 2, 2)


def test_a_detectors_scores_have_their_gradients_to_the_images():
    interpretee, x = as_interpretee(detector()), torch.rand(1, 3, 64, 64).requires_grad_()
    found = interpretee.module(x)[0]
    category = int(found["labels"][found["scores"].argmax()])
    (expected,) = torch.autograd.grad(found["scores"].max(), x)
    assert expected.abs().max() > 0
    for call in (interpretee, interpretee.as_module(), lambda x: interpretee.features(x, ["output"])["output"]):
        scores = call(x)
        torch.testing.assert_close(scores.detach(), interpretee.decide(x))
        torch.testing.assert_close(torch.autograd.grad(scores[0, category], x)[0], expected)


def test_a_detector_with_other_weights_is_still_one():
    interpretee, other, x = as_interpretee(detector()), detector(), torch.rand(1, 3, 64, 64)
    again = interpretee.around(other)
    assert again.module is other
    torch.testing.assert_close(again.decide(x), as_interpretee(other).decide(x))
    assert not torch.equal(again.decide(x), interpretee.decide(x))


def test_a_model_without_weights_lists_its_layers():
    listed = invkit.layers(models.resnet18().to("meta"))
    assert next(info.shape for info in listed if info.address == "layer4") == (512, 7, 7)


def test_a_detectors_backbone_goes_through_explain():
    images = torch.rand(80, 3, 32, 32)
    found = invkit.explain(detector(), "backbone.body.16", images, settings=invkit.Settings.tiny())
    assert found.held_out.z.shape[1:] == (960, 2, 2)

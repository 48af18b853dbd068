"""The models, their preprocessing and tokens, against what timm itself says and computes."""

import os
import subprocess
import sys

import invkit_timm
import numpy as np
import pluggy
import pytest
import timm
import torch
import torchvision
from invkit_timm import claim_model, list_models, load_model
from PIL import Image
from torch import nn

import invkit
from invkit.errors import DataError, LayerError, PreprocessWarning
from invkit.interpretees import Preprocess
from invkit.plugins import hookspecs

#: name, options of timm, number of tokens before the patches, block to look at
TRANSFORMERS = [
    ("test_vit", {}, 1, 1),
    ("vit_tiny_patch16_224", {"img_size": 48}, 1, 8),
    ("vit_small_patch14_reg4_dinov2", {"img_size": 42}, 5, 8),  # class token and registers
    ("vit_wee_patch16_reg1_gap_256", {"img_size": 32}, 1, 8),  # a register and no class token
    ("deit_tiny_distilled_patch16_224", {"img_size": 32}, 2, 8),
    ("eva02_tiny_patch14_224", {"img_size": 28}, 1, 8),
    ("naflexvit_base_patch16_gap", {"depth": 2}, 4, 1),
    ("test_vit", {"img_size": (32, 64)}, 1, 1),  # no square
]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_every_architecture_and_every_tag_has_a_name():
    names = list_models()
    assert {*timm.list_models()} <= {*names}
    assert {"resnet18", "resnet18.a1_in1k", "vit_small_patch14_reg4_dinov2.lvd142m"} <= {*names}
    assert len(names) == len({*names})


@pytest.mark.parametrize("name", ["resnet81", "resnet18.no_such_tag", "", "no-source:resnet18", "conv5"])
def test_a_name_that_timm_does_not_have_gives_none(name):
    assert load_model(name, "random", True) is None


def test_pluggy_hands_every_argument_to_the_hooks():
    manager = pluggy.PluginManager("invkit")
    manager.add_hookspecs(hookspecs)
    manager.register(invkit_timm)
    manager.check_pending()
    assert manager.hook.load_model(name="test_resnet", weights="random", local_files_only=True) is not None
    own = Preprocess(8)
    claimed = manager.hook.claim_model(module=timm.create_model("test_resnet"), preprocess=own)
    assert claimed.preprocess is own
    assert "test_resnet" in manager.hook.list_models()


@pytest.mark.parametrize(("name", "options", "prefix", "block"), TRANSFORMERS)
def test_tokens_equal_timms_forward_intermediates(name, options, prefix, block):
    model = timm.create_model(name, **options).eval()
    interpretee = claim_model(model, None)
    images = torch.rand(2, 3, 50, 50)
    with torch.no_grad():
        [(patches, before)] = model.forward_intermediates(
            interpretee.preprocess(images),
            indices=[block],
            norm=False,
            return_prefix_tokens=True,
            output_fmt="NCHW",
            intermediates_only=True,
        )
    assert before.shape[1] == prefix
    first = int(name not in ("vit_wee_patch16_reg1_gap_256", "naflexvit_base_patch16_gap"))
    parts = {"patches": patches}
    parts |= {"cls": before[:, 0]} if first else {}
    parts |= {"registers": before[:, first:]} if prefix > first else {}
    found = interpretee.represent(images, [f"blocks.{block}.{part}" for part in parts])
    for part, expected in parts.items():
        torch.testing.assert_close(found[f"blocks.{block}.{part}"], expected)
    for missing in {"cls", "registers"} - parts.keys():
        with pytest.raises(LayerError, match="has no part"):
            interpretee.represent(images, [f"blocks.{block}.{missing}"])


@pytest.mark.parametrize(
    ("name", "block", "joined"),
    [
        ("cait_xxs24_224", 3, False),
        ("xcit_nano_12_p16_224", 3, False),
        ("convit_tiny", 3, False),
        ("convit_tiny", 11, True),
    ],
)
def test_before_the_class_token_joins_a_block_has_patches_only(name, block, joined):
    model = timm.create_model(name, img_size=32).eval()
    interpretee, images = claim_model(model, None), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        [patches] = model.forward_intermediates(
            interpretee.preprocess(images), indices=[block], norm=False, intermediates_only=True
        )
    found = interpretee.represent(images, [f"blocks.{block}.patches"])[f"blocks.{block}.patches"]
    torch.testing.assert_close(found, patches)
    if joined:
        assert interpretee.represent(images, [f"blocks.{block}.cls"])[f"blocks.{block}.cls"].shape == (2, 192)
    else:
        with pytest.raises(LayerError, match="has no part 'cls'"):
            interpretee.represent(images, [f"blocks.{block}.cls"])


@pytest.mark.parametrize(
    ("name", "options", "size", "layer", "index", "to_maps"),
    [
        ("test_resnet", {}, 160, "layer3", 3, lambda z: z),
        ("swin_tiny_patch4_window7_224", {"img_size": 64}, 64, "layers.1", 1, lambda z: z.permute(0, 3, 1, 2)),
    ],
)
def test_layers_equal_timms_forward_intermediates(name, options, size, layer, index, to_maps):
    model = timm.create_model(name, **options).eval()
    interpretee, images = claim_model(model, None), torch.rand(2, 3, size, size)
    with torch.no_grad():
        [maps] = model.forward_intermediates(
            interpretee.preprocess(images), indices=[index], norm=False, intermediates_only=True
        )
        logits = model(interpretee.preprocess(images))
    torch.testing.assert_close(to_maps(interpretee.represent(images, [layer])[layer]), maps)
    torch.testing.assert_close(interpretee.decide(images), logits)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "resnet10t.c3_in1k", "vit_tiny_patch16_224.augreg_in21k"])
def test_preprocessing_equals_timms_own_transform_on_an_image_of_the_right_size(name):
    interpretee = load_model(name, "random", True)
    config = timm.data.resolve_model_data_config(interpretee.model)
    pixels = np.random.default_rng(0).integers(0, 256, (*config["input_size"][1:], 3), dtype=np.uint8)
    expected = timm.data.create_transform(**{**config, "crop_pct": 1.0})(Image.fromarray(pixels))
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    torch.testing.assert_close(interpretee.preprocess(images)[0], expected)
    torch.testing.assert_close(interpretee.preprocess.inverse(expected[None]), images)


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("test_vit", {"img_size": 48}, 48),  # built for another size than its pretrained_cfg says
        ("vit_tiny_patch16_224", {"img_size": 32, "dynamic_img_size": True}, 32),
        ("test_resnet", {}, 160),  # takes any; trained at this
        ("coat_tiny", {"img_size": 64}, 64),
    ],
)
def test_images_of_any_size_come_to_the_size_that_the_model_was_built_for(name, options, size):
    interpretee = claim_model(timm.create_model(name, **options), None)
    assert interpretee.preprocess.size == size
    assert interpretee.decide(torch.rand(1, 3, 20, 50)).shape == (1, 1000)


def test_a_model_of_rectangles_gets_rectangles():
    interpretee = claim_model(timm.create_model("test_vit", img_size=(32, 64)), None)
    assert interpretee.represent(torch.rand(1, 3, 50, 50), ["input"])["input"].shape == (1, 3, 32, 64)
    assert interpretee.layers()[-1].shape == (1000,)
    prepared = interpretee.preprocess(images := torch.rand(1, 3, 32, 64))
    torch.testing.assert_close(interpretee.preprocess.inverse(prepared), images)


def test_the_users_own_preprocessing_takes_precedence_and_decides_the_grid():
    own = Preprocess(48)
    interpretee = claim_model(timm.create_model("test_vit", dynamic_img_size=True), own)
    assert interpretee.preprocess is own
    assert interpretee.represent(torch.rand(1, 3, 9, 9), ["blocks.0.patches"])["blocks.0.patches"].shape[2:] == (3, 3)


def test_only_whole_timm_models_are_claimed():
    model = timm.create_model("test_vit")
    others = [nn.Linear(3, 3), model.blocks[0], nn.Sequential(model), torchvision.models.squeezenet1_1()]
    assert [claim_model(other, None) for other in others] == [None] * 4
    assert claim_model(model, None) is not None


def test_a_model_made_without_timms_config_is_claimed_only_with_the_users_preprocessing():
    model = timm.models.VisionTransformer(img_size=32, patch_size=16, embed_dim=48, depth=2, num_heads=3)
    assert claim_model(model, None) is None
    interpretee = claim_model(model, Preprocess(32))
    parts = interpretee.represent(torch.rand(2, 3, 32, 32), ["blocks.0.cls", "blocks.0.patches"])
    assert [tuple(part.shape) for part in parts.values()] == [(2, 48), (2, 48, 2, 2)]
    assert interpretee.categories == ()


def test_a_model_of_four_channels_must_be_told_how_it_gets_them():
    model = timm.create_model("test_resnet", in_chans=4)
    with pytest.raises(DataError, match="4 channels"):
        claim_model(model, None)
    interpretee = claim_model(model, lambda images: torch.cat([images, images.mean(1, keepdim=True)], 1))
    assert interpretee.decide(torch.rand(1, 3, 64, 64)).shape == (1, 1000)


def test_a_model_of_one_channel_gets_grey_images_normalised_as_timms_loader_does():
    model = timm.create_model("test_resnet", in_chans=1)
    with pytest.warns(PreprocessWarning, match="takes 1 channel and its `pretrained_cfg` describes 3"):
        interpretee = claim_model(model, None)
    mean, std = model.pretrained_cfg["mean"], model.pretrained_cfg["std"]
    assert interpretee.preprocess.mean == pytest.approx([sum(mean) / 3])
    assert interpretee.preprocess.std == pytest.approx([sum(std) / 3])
    assert interpretee.decide(torch.rand(1, 3, 64, 64)).shape == (1, 1000)
    assert invkit.layers(model, receptive_fields=False)[0].address == "conv1.0"
    own = invkit.Preprocess(size=96, mean=(0.5,), std=(0.5,))
    assert claim_model(model, own).preprocess is own  # and nobody is warned
    model.pretrained_cfg |= {"mean": (0.13,), "std": (0.31,)}
    assert claim_model(model, None).preprocess.mean == (0.13,)


def test_claiming_imports_no_timm():
    code = (
        "import sys, torch, invkit_timm;"
        "print(invkit_timm.claim_model(torch.nn.Linear(2, 2), None), 'timm' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "False"]


def test_categories_are_imagenets_in_the_order_of_torchvisions():
    found = load_model("test_resnet", "random", True).categories
    expected = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.meta["categories"]
    agree = sum(name.lower() in words.lower() for words, name in zip(found, expected, strict=True))
    assert agree > 980  # torchvision renames a few


def test_other_numbers_of_classes_have_no_made_up_names():
    assert claim_model(timm.create_model("test_resnet", num_classes=10), None).categories == ()
    features = claim_model(timm.create_model("test_resnet", num_classes=0), None)
    assert features.categories == ()
    assert not features.scores_classes

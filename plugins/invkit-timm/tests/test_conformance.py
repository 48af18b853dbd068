"""One small model of every timm family keeps invkit's contract: `pytest -m conformance`, some minutes on one core."""

from dataclasses import replace

import pytest
import timm
import torch
from invkit_timm.description import describe, preprocessing

from invkit.testing import check_interpretee

#: model, side of its images in pixels, options: the fewest parameters of each family (its giants cut to a few blocks)
#: at the smallest size that works
FAMILIES = {
    "beit": ("beit_base_patch16_224", 32, {"img_size": 32, "depth": 2}),
    "byoanet": ("halonet_h1", 256, {}),
    "byobnet": ("test_byobnet", 32, {}),
    "cait": ("cait_xxs24_224", 32, {"img_size": 32}),
    "coat": ("coat_tiny", 32, {"img_size": 32}),
    "convit": ("convit_tiny", 32, {"img_size": 32}),
    "convmixer": ("convmixer_768_32", 32, {}),
    "convnext": ("test_convnext", 32, {}),
    "cpubone": ("cpubone_nano", 32, {}),
    "crossvit": ("crossvit_tiny_240", 32, {}),
    "csatv2": ("csatv2", 64, {}),
    "cspnet": ("cs3darknet_focus_s", 32, {}),
    "cspnext": ("cspnext_tiny", 32, {}),
    "davit": ("davit_tiny", 32, {}),
    "deepseek_vit": ("deepseek_vit_412m", 56, {"depth": 2}),
    "deit": ("deit_tiny_distilled_patch16_224", 32, {"img_size": 32}),
    "densenet": ("densenet121", 32, {}),
    "dla": ("dla46x_c", 32, {}),
    "dpn": ("dpn48b", 32, {}),
    "edgenext": ("edgenext_xx_small", 32, {}),
    "efficientformer": ("efficientformer_l1", 224, {}),
    "efficientformer_v2": ("efficientformerv2_s0", 32, {"img_size": 32}),
    "efficientnet": ("test_efficientnet", 32, {}),
    "efficientvim": ("efficientvim_m1", 32, {}),
    "efficientvit_mit": ("efficientvit_b0", 32, {}),
    "efficientvit_msra": ("efficientvit_m0", 32, {}),
    "eva": ("eva02_tiny_patch14_224", 28, {"img_size": 28}),
    "fasternet": ("fasternet_t0", 32, {}),
    "fastvit": ("fastvit_t8", 32, {}),
    "focalnet": ("focalnet_tiny_srf", 32, {}),
    "gcvit": ("gcvit_xxtiny", 32, {"img_size": 32}),
    "gemma4_vit": ("gemma4_vit_167m", 48, {"depth": 2}),
    "ghostnet": ("ghostnet_050", 32, {}),
    "hardcorenas": ("hardcorenas_b", 32, {}),
    "hgnet": ("hgnetv2_b0", 32, {}),
    "hiera": ("hiera_tiny_224", 32, {"img_size": 32}),
    "hieradet_sam2": ("sam2_hiera_tiny", 32, {}),
    "hrnet": ("hrnet_w18_small", 32, {}),
    "iformer": ("iformer_t", 32, {}),
    "inception_next": ("inception_next_atto", 32, {}),
    "inception_resnet_v2": ("inception_resnet_v2", 96, {}),
    "inception_v3": ("inception_v3", 96, {}),
    "inception_v4": ("inception_v4", 96, {}),
    "lcnetv2": ("lcnetv2_small", 32, {}),
    "levit": ("levit_128s", 32, {"img_size": 32}),
    "lowformer": ("lowformer_b0", 32, {}),
    "mambaout": ("test_mambaout", 32, {}),
    "maxxvit": ("coatnet_pico_rw_224", 32, {"img_size": 32}),
    "metaformer": ("poolformer_s12", 32, {}),
    "mlp_mixer": ("gmlp_ti16_224", 32, {"img_size": 32}),
    "mobilenetv3": ("mobilenetv3_small_050", 32, {}),
    "mobilenetv5": ("mobilenetv5_base", 32, {}),
    "mobilevit": ("mobilevit_xxs", 32, {}),
    "mvitv2": ("mvitv2_tiny", 32, {}),
    "naflexvit": ("naflexvit_base_patch16_gap", 32, {"depth": 2}),
    "nasnet": ("nasnetalarge", 32, {}),
    "nest": ("nest_tiny", 32, {"img_size": 32}),
    "nextvit": ("nextvit_small", 32, {}),
    "nfnet": ("nf_regnet_b0", 32, {}),
    "pit": ("pit_ti_224", 32, {"img_size": 32}),
    "pnasnet": ("pnasnet5large", 32, {}),
    "pvt_v2": ("pvt_v2_b0", 32, {}),
    "qwen3_vit": ("qwen3_vit_88m", 32, {"depth": 2}),
    "rdnet": ("rdnet_tiny", 32, {}),
    "regnet": ("regnetx_002", 32, {}),
    "repghost": ("repghostnet_050", 32, {}),
    "repvit": ("repvit_m1", 32, {}),
    "res2net": ("res2next50", 32, {}),
    "resnest": ("resnest14d", 32, {}),
    "resnet": ("test_resnet", 32, {}),
    "resnetv2": ("resnetv2_18", 32, {}),
    "rexnet": ("rexnet_100", 32, {}),
    "selecsls": ("selecsls42", 32, {}),
    "senet": ("legacy_seresnet18", 32, {}),
    "sequencer": ("sequencer2d_s", 32, {}),
    "shvit": ("shvit_s1", 32, {}),
    "sknet": ("skresnet18", 32, {}),
    "starnet": ("starnet_s050", 32, {}),
    "swiftformer": ("swiftformer_xs", 32, {}),
    "swin_transformer": ("swin_tiny_patch4_window7_224", 32, {"img_size": 32}),
    "swin_transformer_v2": ("swinv2_tiny_window16_256", 32, {"img_size": 32}),
    "swin_transformer_v2_cr": ("swinv2_cr_tiny_224", 32, {"img_size": 32}),
    "tiny_vit": ("tiny_vit_5m_224", 32, {}),
    "tnt": ("tnt_s_legacy_patch16_224", 32, {"img_size": 32}),
    "tresnet": ("tresnet_m", 32, {}),
    "twins": ("twins_svt_small", 32, {}),
    "vgg": ("vgg11", 32, {"mlp_ratio": 0.1}),
    "visformer": ("visformer_tiny", 32, {"img_size": 32}),
    "vision_transformer": ("test_vit", 32, {"img_size": 32}),
    "vision_transformer_hybrid": ("vit_tiny_r_s16_p8_224", 32, {"img_size": 32}),
    "vision_transformer_relpos": ("test_vit_relpos", 32, {"img_size": 32}),
    "vision_transformer_sam": ("samvit_base_patch16_224", 32, {"depth": 3}),
    "vitamin": ("vitamin_small_224", 32, {"img_size": 32}),
    "volo": ("volo_d1_224", 32, {"img_size": 32}),
    "vovnet": ("ese_vovnet19b_slim_dw", 32, {}),
    "xception": ("legacy_xception", 32, {}),
    "xception_aligned": ("xception41p", 32, {}),
    "xcit": ("xcit_nano_12_p8_224", 32, {}),
}
#: families of which every block gives tokens
TOKENS = [
    "beit",
    "cait",
    "convit",
    "deit",
    "eva",
    "naflexvit",
    "vision_transformer",
    "vision_transformer_hybrid",
    "vision_transformer_relpos",
    "xcit",
]
#: on every run: a network of convolutions and one of tokens
QUICK = ["resnet", "vision_transformer"]


def interpretee_of(family):
    torch.manual_seed(0)
    name, size, options = FAMILIES[family]
    model = timm.create_model(name, **options)
    return describe(model, replace(preprocessing(model), size=size))


@pytest.mark.parametrize("family", QUICK)
def test_a_model_passes_the_kit(family):
    assert check_interpretee(interpretee_of(family)).passed


@pytest.mark.conformance
def test_the_table_has_every_family():
    assert {*FAMILIES} == {*timm.list_modules()}


@pytest.mark.conformance
@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_of_each_family_passes_the_kit(family):
    assert check_interpretee(interpretee_of(family)).passed


@pytest.mark.conformance
@pytest.mark.parametrize("family", TOKENS)
def test_the_patches_of_every_block_equal_timms_forward_intermediates(family):
    interpretee = interpretee_of(family)
    model, size = interpretee.model.eval(), interpretee.preprocess.size
    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        expected = model.forward_intermediates(interpretee.preprocess(images), norm=False, intermediates_only=True)
    addresses = [f"{info['module']}.patches" for info in model.feature_info]
    found = interpretee.represent(images, addresses)
    for address, maps in zip(addresses, expected, strict=True):
        torch.testing.assert_close(found[address], maps)

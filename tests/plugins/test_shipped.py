"""The plugins of this repository, each by `check_plugin` as any third party's."""

import pytest

from invkit.testing import check_plugin


@pytest.mark.parametrize(
    "prefix",
    [
        "facenet",
        "onnx",
        "timm",
        "torchvision",
        pytest.param("biggan", marks=pytest.mark.conformance),  # six generators at full size
        pytest.param("diffusers", marks=pytest.mark.conformance),  # nine autoencoders at full size
    ],
)
def test_a_shipped_plugin_passes_the_kit(prefix):
    print(check_plugin(prefix))

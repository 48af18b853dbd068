"""The conformance kit on every net; O-Net and its siblings with their trained weights."""

import pytest
from invkit_facenet import claim_model, load_model
from invkit_facenet.models import standardise

from invkit.testing import check_interpretee


@pytest.mark.parametrize("name", ["pnet", "rnet", "onet"])
def test_each_stage_of_mtcnn_passes_the_kit(name):
    print(check_interpretee(load_model(name, weights=None, local_files_only=True)))


@pytest.mark.parametrize("size", [80, pytest.param(160, marks=pytest.mark.slow)])
def test_facenet_passes_the_kit(size):
    random = load_model("vggface2", weights="random", local_files_only=True)
    layers = ["conv2d_1a", "maxpool_3a", "repeat_1.4.branch2", "last_bn", *random.named]
    print(check_interpretee(claim_model(random.model, standardise(size)), layers=layers))

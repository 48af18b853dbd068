import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn
from torchvision import models

import invkit
from invkit.errors import ArtefactError, InvkitWarning
from invkit.testing import check_interpretee

pytestmark = pytest.mark.filterwarnings("ignore:Unknown preprocessing")


def small_net():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )


def export(model, file, size=32, free=(0,)):
    names = {axis: f"axis{axis}" for axis in free}
    torch.onnx.export(
        model.eval(),
        torch.rand(2, 3, size, size),
        str(file),
        input_names=["images"],
        dynamic_axes={"images": names} if free else None,
        opset_version=17,
        dynamo=False,
    )
    return f"onnx:{file}"


@pytest.fixture
def net(tmp_path):
    torch.manual_seed(0)
    model = small_net()
    return model, export(model, tmp_path / "net.onnx")


def test_the_kit_passes(net):
    print(check_interpretee(invkit.load_model(net[1])))


def test_layers_and_output_are_those_of_the_original(net):
    model, name = net
    images = torch.rand(4, 3, 32, 32)
    interpretee = invkit.load_model(name)
    torch.testing.assert_close(interpretee.decide(images), model(images))
    relu = next(info.address for info in interpretee.layers() if info.type == "ReLU")
    torch.testing.assert_close(interpretee.represent(images, [relu])[relu], model[:3](images))


def test_the_size_is_the_files_own_or_free(net, tmp_path):
    assert invkit.load_model(net[1]).preprocess.size == (32, 32)
    assert invkit.load_model(export(small_net(), tmp_path / "free.onnx", free=(0, 2, 3))).preprocess.size is None


@pytest.mark.filterwarnings("error::invkit.errors.InvkitWarning")
def test_the_user_says_how_images_are_normalised_or_is_told_that_nobody_did(net):
    with pytest.warns(InvkitWarning, match=r"Unknown preprocessing.*net\.onnx"):
        invkit.load_model(net[1])
    from invkit.interpretees import as_interpretee

    preprocess = invkit.Preprocess(32, (0.5,) * 3, (0.2,) * 3)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(as_interpretee(net[1], preprocess).decide(images), net[0]((images - 0.5) / 0.2))


@pytest.mark.parametrize(
    "name",
    [
        "squeezenet1_1",
        "alexnet",
        "resnet18",
        "mobilenet_v3_small",
        *(
            pytest.param(name, marks=pytest.mark.conformance)
            for name in ("efficientnet_b0", "densenet121", "convnext_tiny", "vit_b_16")
        ),
    ],
)
def test_networks_of_torchvision_are_read_back(name, tmp_path):
    torch.manual_seed(0)
    model = models.get_model(name, weights=None).eval()
    if name == "vit_b_16":
        nn.init.normal_(model.heads.head.weight)  # zero at first
    interpretee = invkit.load_model(export(model, tmp_path / f"{name}.onnx", 224))
    images = torch.rand(3, 3, 224, 224)
    with torch.inference_mode():
        expected = model(images)
    difference = ((interpretee.decide(images) - expected).abs().max() / expected.abs().max()).item()
    print(f"{name}: logits differ by at most {difference:.1e} of the largest")
    assert difference < 1e-4


def test_what_onnx2torch_cannot_run_is_told_at_once(tmp_path):
    model = models.swin_t(weights=None)  # its windows are cut by sizes that the file computes
    with pytest.raises(ArtefactError, match=r"swin_t\.onnx does not take two images"):
        invkit.load_model(export(model, tmp_path / "swin_t.onnx", 224))


def one_node(tmp_path, operation, shape=("b", 3, 8, 8)):
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node(operation, ["x"], ["y"])], "g", tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "one.onnx")
    return f"onnx:{tmp_path / 'one.onnx'}"


def test_what_cannot_be_read_is_said(tmp_path, net):
    with pytest.raises(ArtefactError, match="no such file"):
        invkit.load_model("onnx:nowhere.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no network at all")
    with pytest.raises(ArtefactError, match="is no ONNX network"):
        invkit.load_model(f"onnx:{tmp_path / 'broken.onnx'}")
    with pytest.raises(ArtefactError, match="cannot convert"):
        invkit.load_model(one_node(tmp_path, "Det"))
    with pytest.raises(ArtefactError, match="does not take images"):
        invkit.load_model(one_node(tmp_path, "Relu", ("b", 10)))
    with pytest.raises(ArtefactError, match="in its file"):
        invkit.load_model(net[1], weights="random")


def test_parts_of_several_outputs_are_layers(tmp_path):
    class Three(nn.Module):
        def forward(self, x):
            y = x.mean((2, 3))
            return y, 2 * y, 3 * y

    name = export(Three(), tmp_path / "three.onnx")
    x = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(invkit.load_model(name).represent(x, ["output[1]"])["output[1]"], 2 * x.mean((2, 3)))


def test_a_fixed_batch_is_told(tmp_path):
    class One(nn.Module):
        def forward(self, x):
            return x.reshape(x.shape[0], -1)[:, :5]

    torch.onnx.export(
        One(), torch.rand(1, 3, 32, 32), str(tmp_path / "one.onnx"), input_names=["x"], opset_version=17, dynamo=False
    )
    with pytest.raises(ArtefactError, match="two images at once"):
        invkit.load_model(f"onnx:{tmp_path / 'one.onnx'}")

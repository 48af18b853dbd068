"""MTCNN's nets with their trained weights: what the library's own detection gives, and a face from a drawing."""

import pytest
import torch
from facenet_pytorch import ONet, PNet, RNet
from facenet_pytorch.models.utils.detect_face import detect_face
from invkit_facenet import load_model
from invkit_facenet.models import standardise
from torch import nn

import invkit
from invkit.errors import ArtefactError

SIZES = {"pnet": 12, "rnet": 24, "onet": 48}


class Stub(nn.Module):
    """A first or second stage that passes on one window."""

    def __init__(self, *output):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.output = output

    def forward(self, _images):
        return self.output


@pytest.fixture(scope="module")
def onet():
    return load_model("onet", weights=None, local_files_only=True)


@pytest.mark.parametrize(("name", "own"), [("pnet", PNet), ("rnet", RNet), ("onet", ONet)])
def test_boxes_landmarks_and_probabilities_are_the_librarys_own(name, own):
    net = load_model(name, weights=None, local_files_only=True)
    x = torch.rand(5, 3, SIZES[name], SIZES[name])
    with torch.no_grad():
        expected = own()((255 * x - 127.5) * 0.0078125)
    z = net.represent(x, [f"output[{k}]" for k in range(len(expected))])
    for found, value in zip(z.values(), expected, strict=True):
        torch.testing.assert_close(found, value)
    torch.testing.assert_close(net.decide(x), expected[-1].flatten(1))


def test_onet_agrees_with_the_librarys_detection_on_the_same_crop_and_so_takes_images_upright(onet, draw_face):
    # one window from (1, 1) to (48, 48): at a scale of 12 / 48 the window is (4, 4, 48, 48), shifted by −3 / 44
    shift = torch.tensor([-3 / 44, -3 / 44, 0, 0])
    first = Stub(shift.view(1, 4, 1, 1), torch.tensor([0.0, 1.0]).view(1, 2, 1, 1))
    second = Stub(torch.zeros(1, 4), torch.tensor([[0.0, 1.0]]))
    face = (255 * draw_face()).round()
    with torch.no_grad():
        boxes, points = detect_face(
            face.permute(0, 2, 3, 1), 48, first, second, ONet(), [0.0, 0.0, 0.0], 0.1, torch.device("cpu")
        )
    upright = onet.decide(face / 255)[0, 1]
    assert float(boxes[0][0, 4]) == pytest.approx(float(upright), abs=1e-6)
    landmarks = onet.represent(face / 255, ["output[1]"])["output[1]"].view(2, 5).T
    torch.testing.assert_close(torch.tensor(points[0][0].astype(float)).float(), landmarks * 48, atol=1e-3, rtol=0)
    assert abs(float(onet.decide((face / 255).mT)[0, 1] - upright)) > 0.5


def test_onet_sees_a_drawn_face_only_upright(onet, draw_face):
    faces = torch.cat([draw_face(), draw_face(skin=(240, 205, 180), hair=(40, 30, 30)), draw_face(mouth=(150, 50, 60))])
    probability = {
        "upright": onet.decide(faces)[:, 1],
        "mirrored": onet.decide(faces.flip(3))[:, 1],
        "transposed": onet.decide(faces.mT)[:, 1],
        "upside down": onet.decide(faces.flip(2))[:, 1],
        "noise": onet.decide(torch.rand(3, 3, 48, 48))[:, 1],
    }
    assert min(probability["upright"].min(), probability["mirrored"].min()) > 0.8
    assert max(probability[how].max() for how in ("transposed", "upside down", "noise")) < 0.2


def test_onets_landmarks_lie_on_the_drawn_eyes_and_mouth(onet, draw_face):
    found = onet.represent(draw_face(), ["output[1]"])["output[1]"].view(2, 5).T
    drawn = torch.tensor([[16, 20], [32, 20], [24, 31], [17, 38], [31, 38]]) / 48
    assert (found - drawn).abs().max() < 0.1


def test_pnets_decision_on_a_larger_image_is_that_of_its_likeliest_window():
    net = load_model("pnet", weights=None, local_files_only=True)
    net.preprocess = standardise(None)
    x = torch.rand(2, 3, 24, 24)
    windows = [net.decide(x[..., i : i + 12, j : j + 12])[:, 1] for i in range(0, 13, 2) for j in range(0, 13, 2)]
    torch.testing.assert_close(net.decide(x)[:, 1], torch.stack(windows).amax(0))
    torch.testing.assert_close(net.decide(x).sum(1), torch.ones(2))


def test_own_weights_are_read_and_others_refused(tmp_path, onet):
    state = {key: torch.zeros_like(value) for key, value in onet.model.state_dict().items()}
    torch.save(state, tmp_path / "own.pt")
    net = load_model("onet", weights=str(tmp_path / "own.pt"), local_files_only=True)
    torch.testing.assert_close(net.decide(torch.rand(1, 3, 48, 48)), torch.full((1, 2), 0.5))
    with pytest.raises(ArtefactError, match="do not fit RNet"):
        load_model("rnet", weights=str(tmp_path / "own.pt"), local_files_only=True)


def test_a_layer_of_onet_is_explained_end_to_end(tmp_path, onet, draw_face, tiny):
    skins, mouths = torch.randint(120, 250, (96, 3)).tolist(), torch.randint(30, 220, (96, 3)).tolist()
    faces = torch.cat([draw_face(tuple(s), mouth=tuple(m), scale=2) for s, m in zip(skins, mouths, strict=True)])
    explanation = invkit.explain(
        onet,
        "prelu5",
        faces,
        concepts={"redness": [s[0] / 255 for s in skins]},
        size=32,
        settings=tiny,
    )
    assert explanation.sample(faces[:2], n=3).shape == (2, 3, 3, 32, 32)
    assert 0 < explanation.invariance().value <= 1.5
    assert 0 <= explanation.concepts()["redness"].value <= 1.5
    explanation.save(tmp_path / "saved")
    again = invkit.Explanation.load(tmp_path / "saved", onet)
    torch.testing.assert_close(again.sample(faces[:2], n=3), explanation.sample(faces[:2], n=3))

"""FaceNet: the library's own input, output and weights, and the paper's layers."""

import io
import pickle
import subprocess
import sys
from email.message import Message

import pytest
import torch
from facenet_pytorch import MTCNN, InceptionResnetV1, ONet, fixed_image_standardization
from invkit_facenet import claim_model, distance, list_models, load_model
from invkit_facenet.models import FaceDetector, standardise
from torch import nn

from invkit.errors import ArtefactError
from invkit.interpretees import ModuleInterpretee, Preprocess

FILES = {"vggface2": "20180402-114759-vggface2.pt", "casia-webface": "20180408-102900-casia-webface.pt"}
PEOPLE = {"vggface2": 8631, "casia-webface": 10575}


def load(name, weights="random", local_files_only=True):
    return load_model(name, weights=weights, local_files_only=local_files_only)


@pytest.fixture(scope="session")
def facenet():
    torch.manual_seed(0)
    return load("vggface2")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "checkpoints"


def published(name, fill=0.5):
    """A state dict with the keys and shapes of the published one; each tensor one number, so the file is small."""
    with torch.device("meta"):
        module = InceptionResnetV1(classify=True, num_classes=PEOPLE[name])
    return {key: torch.full((), fill, dtype=v.dtype).expand(v.shape) for key, v in module.state_dict().items()}


def test_standardisation_equals_facenet_pytorchs_own_and_mtcnns_and_has_its_inverse():
    x = torch.rand(2, 3, 9, 9)
    prepared = standardise(None)(x)
    torch.testing.assert_close(prepared, fixed_image_standardization(255 * x))
    torch.testing.assert_close(prepared, (255 * x - 127.5) * 0.0078125)
    torch.testing.assert_close(standardise(None).inverse(prepared), x)


def test_the_decision_is_the_librarys_embedding_of_length_1(facenet):
    x = torch.rand(2, 3, 160, 160)
    with torch.no_grad():
        expected = facenet.model.eval()(fixed_image_standardization(255 * x))
    torch.testing.assert_close(facenet.decide(x), expected)
    torch.testing.assert_close(expected.norm(dim=1), torch.ones(2))
    assert expected.shape == (2, 512)


def test_the_papers_layers_have_the_shapes_of_table_s12_at_128_px(facenet):
    at_128 = claim_model(facenet.model, standardise(128))
    z = at_128.represent(torch.rand(1, 3, 128, 128), [*at_128.named, "conv2d_2b", "conv2d_4b", "mixed_7a"])
    assert {name: tuple(value.shape[1:]) for name, value in z.items()} == {
        "second_conv": (192, 28, 28),
        "mixed_down": (896, 6, 6),
        "avgpool": (1792,),
        "identity_embedding": (512,),
        "conv2d_2b": (64, 61, 61),
        "conv2d_4b": (256, 13, 13),
        "mixed_7a": (1792, 2, 2),
    }


def test_images_of_any_size_are_shown_at_160_px(facenet):
    assert facenet.represent(torch.rand(1, 3, 50, 70), ["input"])["input"].shape == (1, 3, 160, 160)


def test_the_identity_embedding_is_the_decision_also_below_a_classification_head(facenet):
    classifier = InceptionResnetV1(classify=True, num_classes=7)
    classifier.load_state_dict(facenet.model.state_dict(), strict=False)
    claimed, x = claim_model(classifier, None), torch.rand(2, 3, 80, 80)
    torch.testing.assert_close(claimed.represent(x, ["identity_embedding"])["identity_embedding"], facenet.decide(x))
    assert claimed.decide(x).shape == (2, 7)


def test_distance_is_that_of_the_angle_and_broadcasts():
    a, b = (nn.functional.normalize(torch.randn(k, 512), dim=1) for k in (3, 4))
    torch.testing.assert_close(distance(a[:, None], b).square(), 2 - 2 * a @ b.T)
    assert distance(a, a).abs().max() == 0


@pytest.mark.parametrize("name", PEOPLE)
def test_weights_in_the_published_form_load_from_a_file_without_the_head(tmp_path, name):
    torch.save(published(name, fill=0.25), tmp_path / "own.pt")
    model = load(name, str(tmp_path / "own.pt")).model
    assert all((value == 0.25).all() for value in model.state_dict().values() if value.is_floating_point())
    assert not any(key.startswith("logits") for key in model.state_dict())


def test_weights_in_the_librarys_cache_give_the_librarys_own_embedding(cache):
    module = InceptionResnetV1(classify=True, num_classes=PEOPLE["vggface2"])
    for buffer in (b for b in module.buffers() if b.is_floating_point()):
        buffer.uniform_(0.5, 1.5)
    cache.mkdir()
    file = cache / FILES["vggface2"]
    torch.save(module.state_dict(), file)
    x = torch.rand(2, 3, 160, 160)
    with torch.no_grad():
        expected = InceptionResnetV1(pretrained="vggface2").eval()(fixed_image_standardization(255 * x))
    torch.testing.assert_close(load("vggface2", None).decide(x), expected)
    file.unlink()  # 112 MB


@pytest.mark.parametrize("name", PEOPLE)
def test_missing_weights_are_told_with_file_and_address_and_never_asked_for_when_local(cache, monkeypatch, name):
    monkeypatch.setattr(torch.hub, "urlopen", lambda *_: pytest.fail("a download"))
    with pytest.raises(ArtefactError) as error:
        load(name, None, local_files_only=True)
    assert str(cache / FILES[name]) in str(error.value)
    assert f"https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/{FILES[name]}" in str(error.value)


def test_a_failed_download_is_told_with_the_file_and_the_cause(cache):
    with pytest.raises(ArtefactError, match="no network in tests") as error:
        load("vggface2", None, local_files_only=False)
    assert str(cache / FILES["vggface2"]) in str(error.value)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("weights", [None, "casia-webface"])
def test_a_download_goes_where_the_library_looks_for_it(cache, monkeypatch, weights):
    content, asked = io.BytesIO(), []
    torch.save(published("casia-webface", fill=0.125), content)
    content.seek(0)
    content.info = Message

    def urlopen(request):
        asked.append(request.full_url)
        return content

    monkeypatch.setattr(torch.hub, "urlopen", urlopen)
    found = load("casia-webface", weights, local_files_only=False)
    assert (found.model.last_linear.weight == 0.125).all()
    assert [file.name for file in cache.iterdir()] == [FILES["casia-webface"]]
    assert asked[0].endswith(FILES["casia-webface"])
    assert InceptionResnetV1(pretrained="casia-webface").last_linear.weight[0, 0] == 0.125


def test_weights_that_do_not_fit_or_would_run_code_are_refused(tmp_path):
    torch.save(ONet().state_dict(), tmp_path / "onet.pt")
    with pytest.raises(ArtefactError, match="do not fit InceptionResnetV1"):
        load("vggface2", str(tmp_path / "onet.pt"))
    (tmp_path / "code.pt").write_bytes(pickle.dumps(print, protocol=2))
    with pytest.raises(ArtefactError, match="Cannot read"):
        load("vggface2", str(tmp_path / "code.pt"))


def test_live_nets_of_the_library_are_claimed_with_their_size_and_nothing_else_is():
    sizes = {type(m.model).__name__: m.preprocess.size for m in map(load, list_models())}
    assert sizes == {"InceptionResnetV1": 160, "PNet": 12, "RNet": 24, "ONet": 48}

    class Own(ONet):
        pass

    assert isinstance(claim_model(ONet(), None), FaceDetector)
    assert claim_model(ONet(), Preprocess(64)).preprocess == Preprocess(64)
    assert isinstance(claim_model(InceptionResnetV1(), None), ModuleInterpretee)
    assert [claim_model(m, None) for m in (MTCNN(), Own(), nn.Linear(2, 2))] == [None] * 3


def test_another_name_is_nothing():
    assert load("resnet18", None) is None


def test_looking_for_names_imports_neither_torch_nor_the_library():
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; import invkit_facenet as p; p.list_models(); p.claim_model(0, None); "
        "print({'torch', 'facenet_pytorch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_embedding_is_no_decision_and_the_scores_of_people_are_one(facenet):
    assert not facenet.scores_classes
    assert not facenet.around(facenet.module).scores_classes
    assert claim_model(InceptionResnetV1(classify=True, num_classes=7), None).scores_classes

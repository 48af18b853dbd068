"""End-to-end explanations of well-known networks on photographs and faces."""

from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from sklearn.datasets import load_sample_images

import invkit


@pytest.fixture(scope="module")
def photographs():
    """80 crops of the two photographs that come with scikit-learn, (80, 3, 64, 64), and which one each is of."""
    crops = []
    for photograph in load_sample_images().images:
        x = torch.from_numpy(np.array(photograph)).permute(2, 0, 1) / 255
        tiles = x.unfold(1, 64, 48).unfold(2, 64, 48).permute(1, 2, 0, 3, 4).flatten(0, 1)
        crops.append(tiles[torch.linspace(0, len(tiles) - 1, 40).long()])
    return torch.cat(crops), torch.arange(2).repeat_interleave(40)


@pytest.fixture(scope="module")
def faces():
    """100 faces of Labeled Faces in the Wild and 100 pieces of background, (200, 3, 25, 25), and which is a face."""
    grey = torch.from_numpy(np.load(Path(skimage.__file__).parent / "data" / "lfw_subset.npy")).float()
    return (grey / grey.max()).unsqueeze(1).expand(-1, 3, -1, -1), torch.arange(200) < 100


def explained(name, layer, images, concepts, tiny, tmp_path):
    model = invkit.load_model(name, weights=None if name == "facenet:onet" else "random")
    explanation = invkit.explain(model, layer, images, concepts=concepts, settings=tiny, size=32)
    explanation.save(tmp_path / "saved")
    again = invkit.Explanation.load(tmp_path / "saved", model)
    samples = again.sample(images[:2], n=3)
    assert samples.shape == (2, 3, 3, 32, 32)
    torch.testing.assert_close(samples, explanation.sample(images[:2], n=3))
    assert 0 <= again.invariance().value <= 1.05
    assert set(again.concepts()) == {*concepts, "residual"}
    assert "<svg" in (page := explanation.to_html(tmp_path / "page.html").read_text()) or "data:image/png" in page
    return explanation


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("torchvision:squeezenet1_1", "features.11", (512, 13, 13)),
        ("torchvision:alexnet", "conv5", (256, 13, 13)),
        ("torchvision:resnet18", "layer3", (256, 14, 14)),
        ("timm:vit_tiny_patch16_224", "blocks.6.patches", (192, 14, 14)),
    ],
)
def test_classifiers_on_photographs(name, layer, shape, photographs, tiny, tmp_path):
    images, scene = photographs
    explanation = explained(name, layer, images, {"scene": scene}, tiny, tmp_path)
    assert explanation.held_out.z.shape[1:] == shape


@pytest.mark.parametrize(("name", "layer"), [("facenet:vggface2", "identity_embedding"), ("facenet:onet", "conv4")])
def test_facenet_on_faces_of_people(name, layer, faces, tiny, tmp_path):
    images, is_face = faces
    explained(name, layer, images, {"face": is_face.long()}, tiny, tmp_path)


def test_onets_trained_weights_know_faces_of_people(faces):
    images, is_face = faces
    probability = invkit.load_model("facenet:onet").decide(images)[:, 1]
    higher = (probability[is_face][:, None] > probability[~is_face]).float().mean()  # area under the ROC curve
    print(f"O-Net, faces against background: AUC {higher:.3f}")
    assert higher > 0.95

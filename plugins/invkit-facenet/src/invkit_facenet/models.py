"""The nets of facenet-pytorch as interpretees: standardisation, named layers and weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invkit.interpretees import (
    ModuleInterpretee,
    NamedLayer,
    Preprocess,
    fit_weights,
    published_weights,
    read_weights,
)

__all__ = ["FACENET_LAYERS", "FaceDetector", "as_interpretee", "load", "standardise"]

_CLASSES = {
    "vggface2": "InceptionResnetV1",
    "casia-webface": "InceptionResnetV1",
    "pnet": "PNet",
    "rnet": "RNet",
    "onet": "ONet",
}
#: side of the images that each class was trained on, in pixels
_SIZES = {"InceptionResnetV1": 160, "PNet": 12, "RNet": 24, "ONet": 48}
#: layer of each stage of MTCNN with the probabilities of (no face, face)
_PROBABILITIES = {"PNet": "softmax4_1", "RNet": "softmax5_1", "ONet": "softmax6_1"}
#: the files that facenet-pytorch downloads, by the names in its cache
_RELEASE = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"
_PUBLISHED = {"vggface2": "20180402-114759-vggface2.pt", "casia-webface": "20180408-102900-casia-webface.pt"}


def standardise(size: int | None) -> Preprocess:
    """Return facenet-pytorch's fixed standardisation, (255 x − 127.5) / 128, at a size in pixels.

    MTCNN's detection has the same: (x − 127.5) · 0.0078125, and 0.0078125 = 1 / 128.
    """
    return Preprocess(size, mean=(127.5 / 255,) * 3, std=(128 / 255,) * 3)


def _unit(embedding: Tensor) -> Tensor:
    return F.normalize(embedding, dim=1)


def _flat(z: Tensor) -> Tensor:
    return z.flatten(1)


#: the paper's layers in bold (table S12). The embedding is taken before `logits`, so that a net with `classify=True`,
#: whose output is scores, has it as well. The table has a second "Mixed down", which is `mixed_7a`.
FACENET_LAYERS = {
    "second_conv": NamedLayer("conv2d_4a"),
    "mixed_down": NamedLayer("mixed_6a"),
    "avgpool": NamedLayer("avgpool_1a", _flat),
    "identity_embedding": NamedLayer("last_bn", _unit),
}


def _best_window(probabilities: Tensor) -> Tensor:
    """Return (B, 2) at the window with the likeliest face; R- and O-Net, which return (B, 2), have one window."""
    windows = probabilities.reshape(*probabilities.shape[:2], -1)
    best = windows[:, 1].argmax(1)
    return windows[torch.arange(len(windows), device=best.device), :, best]


class FaceDetector(ModuleInterpretee):
    """A stage of MTCNN (Zhang et al., 2016); its decision is the probabilities of no face and face, (B, 2).

    Images are upright, (B, 3, rows, columns): `detect_face` crops (B, 3, H, W) and does not transpose them. Only
    features are transposed, inside R- and O-Net: a `permute(0, 3, 2, 1)` before the first dense layer puts the features
    in the column-major order in which the original nets were written.

    The nets return tuples: (boxes, probabilities), and O-Net (boxes, landmarks, probabilities), where landmarks are
    five x, then five y, as shares of the image. Their parts are ``output[0]``, ``output[1]`` and ``output[2]``; the
    layer ``output`` is the decision.

    Args:
        model: a PNet, RNet or ONet of facenet-pytorch.
        preprocess: from images in [0, 1] to its input.
    """

    def __init__(self, model: nn.Module, preprocess: Callable[[Tensor], Tensor]) -> None:
        decision = NamedLayer(_PROBABILITIES[type(model).__name__], _best_window)
        super().__init__(model, preprocess, ("no face", "face"), named={"output": decision})


def as_interpretee(module: nn.Module, preprocess: Callable[[Tensor], Tensor] | None = None) -> ModuleInterpretee | None:
    """Return the interpretee of a net of facenet-pytorch, or None for another module (MTCNN takes no tensors)."""
    kind = type(module).__name__
    if kind not in _SIZES:
        return None
    preprocess = preprocess or standardise(_SIZES[kind])
    if kind in _PROBABILITIES:
        return FaceDetector(module, preprocess)
    scores_classes = bool(module.classify)  # of people; otherwise the output is an embedding
    return ModuleInterpretee(module, preprocess, named=FACENET_LAYERS, scores_classes=scores_classes)


def load(name: str, weights: str | None, local_files_only: bool) -> ModuleInterpretee | None:
    """Build a net and read its weights; arguments and errors as of the hook `load_model`."""
    import facenet_pytorch

    module: nn.Module = getattr(facenet_pytorch, _CLASSES[name])(pretrained=None).eval()
    if weights != "random":
        source = _published(name, local_files_only) if weights in (None, name) else weights
        _read_into(module, str(source), local_files_only)
    return as_interpretee(module)


def _read_into(module: nn.Module, source: str, local_files_only: bool) -> None:
    """Read weights by name; the head that FaceNet was trained with (`logits`, 8631 or 10575 people) is ignored."""
    state = read_weights(source, local_files_only=local_files_only)
    fit_weights(module, {key: value for key, value in state.items() if not key.startswith("logits.")}, source)


def _published(name: str, local_files_only: bool) -> Path:
    """Return the file of the published weights: in the wheel, in facenet-pytorch's cache, or downloaded to there.

    facenet-pytorch's own `load_weights` would unpickle it, which executes code in torch before 2.6.
    """
    import facenet_pytorch
    from facenet_pytorch.models.inception_resnet_v1 import get_torch_home

    if name not in _PUBLISHED:
        return Path(facenet_pytorch.__file__).parent / "data" / f"{name}.pt"
    cache = Path(get_torch_home(), "checkpoints")
    return published_weights(_RELEASE + _PUBLISHED[name], folder=cache, local_files_only=local_files_only)

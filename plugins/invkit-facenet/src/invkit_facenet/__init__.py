"""FaceNet and the three nets of the MTCNN face detector, of facenet-pytorch: ``facenet:vggface2``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invkit.plugins import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

__all__ = ["claim_model", "distance", "list_models", "load_model"]

INVKIT_API = 1


@hookimpl
def list_models() -> list[str]:
    """List FaceNet by its training data, and the three stages of MTCNN."""
    return ["vggface2", "casia-webface", "pnet", "rnet", "onet"]


@hookimpl
def load_model(name: str, weights: str | None, local_files_only: bool) -> Any:
    """Load one of :func:`list_models`; None for an unknown name.

    Args:
        name: name of the model.
        weights: None for the published weights: MTCNN's are part of facenet-pytorch, FaceNet's are downloaded to its
            cache. ``random``, or a file, a folder or ``hf-hub:owner/name``.
        local_files_only: never download.

    Raises:
        ArtefactError: the weights cannot be found or downloaded, or do not fit.
    """
    if name not in list_models():
        return None
    from invkit_facenet.models import load

    return load(name, weights, local_files_only)


@hookimpl
def claim_model(module: nn.Module, preprocess: Callable[[Tensor], Tensor] | None) -> Any:
    """Return the interpretee of a live FaceNet, P-, R- or O-Net of facenet-pytorch; `preprocess` replaces its own."""
    if type(module).__module__.partition(".")[0] != "facenet_pytorch":
        return None
    from invkit_facenet.models import as_interpretee

    return as_interpretee(module, preprocess)


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the Euclidean distance between embeddings: small for one person, large for two.

    Args:
        a: embeddings (…, 512) of length 1, as FaceNet's `decide` returns them.
        b: other embeddings; leading axes broadcast, so that ``distance(a[:, None], b)`` has all pairs.

    Returns:
        (…), from 0 to 2. FaceNet's paper (Schroff et al., 2015) sets its threshold on the square of it.
    """
    return (a - b).norm(dim=-1)

"""What all layers of all models share: images, codes, e; and how one t is trained on top."""

from invkit.groundwork.checks import check_data, parts, with_residual
from invkit.groundwork.ground import Groundwork
from invkit.groundwork.invariance import build_t, train_t, train_together
from invkit.groundwork.laying import is_begun, lay_groundwork
from invkit.groundwork.semantic import build_e

__all__ = [
    "Groundwork",
    "build_e",
    "build_t",
    "check_data",
    "is_begun",
    "lay_groundwork",
    "parts",
    "train_t",
    "train_together",
    "with_residual",
]

"""What all layers of all models share: images, codes, e; and how one t is trained on top."""

from invkit.explainer.checks import check_data, parts, with_residual
from invkit.explainer.ground import Groundwork
from invkit.explainer.invariance import build_t, train_t, train_together
from invkit.explainer.laying import is_begun, lay_groundwork
from invkit.explainer.recipe import explain, profile
from invkit.explainer.semantic import build_e

__all__ = [
    "Groundwork",
    "build_e",
    "build_t",
    "check_data",
    "explain",
    "is_begun",
    "lay_groundwork",
    "parts",
    "profile",
    "train_t",
    "train_together",
    "with_residual",
]

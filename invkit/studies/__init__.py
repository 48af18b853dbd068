"""The paper's experiments, each a function that a user runs on their own networks and images."""

from invkit.studies.adversarial import adversarial
from invkit.studies.attacking.attacks import Attack
from invkit.studies.comparison import comparison
from invkit.studies.dynamics import dynamics
from invkit.studies.layers import layers
from invkit.studies.modification import modification
from invkit.studies.sanity import sanity
from invkit.studies.shift import shift
from invkit.studies.study import Study, over_seeds
from invkit.studies.stylise import cue_conflict, stylised
from invkit.studies.texture import texture

__all__ = [
    "Attack",
    "Study",
    "adversarial",
    "comparison",
    "cue_conflict",
    "dynamics",
    "layers",
    "modification",
    "over_seeds",
    "sanity",
    "shift",
    "stylised",
    "texture",
]

"""The paper's experiments, each a function that a user runs on networks and images of their own."""

from invkit.studies.dynamics import dynamics
from invkit.studies.layers import layers
from invkit.studies.sanity import sanity
from invkit.studies.study import Study, over_seeds

__all__ = ["Study", "dynamics", "layers", "over_seeds", "sanity"]

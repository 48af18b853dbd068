"""Numbers about explanations, each with its standard error."""

from invkit.evaluation.estimate import Estimate
from invkit.evaluation.frechet import frechet_distance
from invkit.evaluation.judge import Judge, JudgeTask
from invkit.evaluation.probe import order_disagreements, probe
from invkit.evaluation.reconstruction import Features, reconstruction_figures
from invkit.evaluation.variance import concept_shares, determined_shares, invariance, within_share

__all__ = [
    "Estimate",
    "Features",
    "Judge",
    "JudgeTask",
    "concept_shares",
    "determined_shares",
    "frechet_distance",
    "invariance",
    "order_disagreements",
    "probe",
    "reconstruction_figures",
    "within_share",
]

"""Numbers about explanations, each with its standard error."""

from invkit.evaluation.estimate import Estimate
from invkit.evaluation.judge import Judge, JudgeTask
from invkit.evaluation.probe import order_disagreements, probe
from invkit.evaluation.variance import concept_shares, determined_shares, invariance, within_share

__all__ = [
    "Estimate",
    "Judge",
    "JudgeTask",
    "concept_shares",
    "determined_shares",
    "invariance",
    "order_disagreements",
    "probe",
    "within_share",
]

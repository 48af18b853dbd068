"""Numbers about explanations, each with its standard error."""

from invkit.evaluation.estimate import Estimate
from invkit.evaluation.judge import Judge, JudgeTask
from invkit.evaluation.probe import probe
from invkit.evaluation.variance import concept_shares, invariance, within_share

__all__ = ["Estimate", "Judge", "JudgeTask", "concept_shares", "invariance", "probe", "within_share"]

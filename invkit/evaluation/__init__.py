"""Metrics of explanations, each with its standard error."""

from invkit.evaluation.calibration import Calibration, calibration
from invkit.evaluation.consistency import Consistency, agreement, consistency
from invkit.evaluation.coverage import Coverage, coverage
from invkit.evaluation.features import Features
from invkit.evaluation.frechet import frechet_difference, frechet_distance
from invkit.evaluation.judge import Judge, JudgeTask
from invkit.evaluation.kernel import kernel_distance
from invkit.evaluation.probe import PROBED, order_disagreements, probe
from invkit.evaluation.reconstruction import psnr, reconstruction_metrics
from invkit.evaluation.sanity import cascade, randomised
from invkit.evaluation.trust import Light, lights
from invkit.evaluation.variance import concept_shares, determined_shares, invariance, invariance_rise, within_share

__all__ = [
    "PROBED",
    "Calibration",
    "Consistency",
    "Coverage",
    "Features",
    "Judge",
    "JudgeTask",
    "Light",
    "agreement",
    "calibration",
    "cascade",
    "concept_shares",
    "consistency",
    "coverage",
    "determined_shares",
    "frechet_difference",
    "frechet_distance",
    "invariance",
    "invariance_rise",
    "kernel_distance",
    "lights",
    "order_disagreements",
    "probe",
    "psnr",
    "randomised",
    "reconstruction_metrics",
    "within_share",
]

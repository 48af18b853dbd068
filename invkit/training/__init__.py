"""One loop and the three tasks that pass through it."""

from invkit.training.artefacts import fit_or_load
from invkit.training.autoencoder import AutoencoderTask, psnr
from invkit.training.flows import AmortisedTask, AnchorTask, InvarianceTask, SemanticTask, held_out_nll
from invkit.training.loop import fit, seconds_of_fit, seconds_per_step
from invkit.training.metric import ImageMetric
from invkit.training.task import FitResult, FitSettings, Task

__all__ = [
    "AmortisedTask",
    "AnchorTask",
    "AutoencoderTask",
    "FitResult",
    "FitSettings",
    "ImageMetric",
    "InvarianceTask",
    "SemanticTask",
    "Task",
    "fit",
    "fit_or_load",
    "held_out_nll",
    "psnr",
    "seconds_of_fit",
    "seconds_per_step",
]

"""One training loop, and the tasks of the flows."""

from invkit.training.artefacts import fit_or_load
from invkit.training.flows import AmortisedTask, AnchorTask, InvarianceTask, SemanticTask, held_out_nll
from invkit.training.loop import fit
from invkit.training.task import FitResult, FitSettings, Task

__all__ = [
    "AmortisedTask",
    "AnchorTask",
    "FitResult",
    "FitSettings",
    "InvarianceTask",
    "SemanticTask",
    "Task",
    "fit",
    "fit_or_load",
    "held_out_nll",
]

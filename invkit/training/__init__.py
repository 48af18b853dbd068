"""One training loop, and the tasks of the flows."""

from invkit.training.flows import AmortisedTask, AnchorTask, InvarianceTask, SemanticTask, held_out_nll
from invkit.training.formats import choose_format, seconds_per_step
from invkit.training.loop import fit
from invkit.training.task import FitResult, FitSettings, Format, Task

__all__ = [
    "AmortisedTask",
    "AnchorTask",
    "FitResult",
    "FitSettings",
    "Format",
    "InvarianceTask",
    "SemanticTask",
    "Task",
    "choose_format",
    "fit",
    "held_out_nll",
    "seconds_per_step",
]

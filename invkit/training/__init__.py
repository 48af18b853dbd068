"""The training loop, and the tasks of the flows.

- :mod:`.task`: what a task, its settings and its result are; :mod:`.flows`: the tasks of t and e.
- :mod:`.loop`: the loop; :mod:`.step`: one step and its state; :mod:`.sampler`: the rows of each step.
- :mod:`.formats`: the measurement that chooses number format and memory format.
- :mod:`.checkpoint`: the files of a run.
"""

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

"""What a layer comes to keep while its network learns (paper, sec. 4.2 and B.4)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from invkit.core import Interpretee
from invkit.errors import SettingsError
from invkit.explainer import Explainer, as_explainer
from invkit.explanation.profile import Profile
from invkit.explanation.sections import protocol_section
from invkit.interpretees import as_interpretee
from invkit.studies.study import Study, shows, verdict
from invkit.studies.subjects import explain_layers

__all__ = ["dynamics"]

_CLAIM = (
    "While a network learns, a late layer comes to represent what its task needs and lets go of the rest: the share of "
    "'{task}' grows, those of the other concepts fall (sec. 4.2, fig. 4)."
)


def dynamics(
    explainer: Explainer | Any,
    models: Mapping[Any, str | nn.Module | Interpretee] | Callable[[], Iterable[tuple[Any, nn.Module]]],
    layer: str,
    *,
    task: str,
    preprocess: Callable[[Tensor], Tensor] | None = None,
) -> Study:
    """Follow one layer over checkpoints of a network (paper, sec. 4.2 and B.4).

    Args:
        explainer: an :class:`invkit.Explainer`, its folder, or images to make one of with default settings.
        models: two checkpoints or more by training step, in order (numbers are put in order); or a function that trains
            and yields them, each of which is copied.
        layer: address of the layer.
        task: the concept that the network learns to name.
        preprocess: from images in [0, 1] to the models' input.

    Returns:
        headline: by how much each concept's share (eq. 20) grows from the first to the last checkpoint; the claim holds
        where that of the task grows and all others fall, beyond two standard errors, and fails where one surely does
        not by 0.02.

    Raises:
        SettingsError: fewer than two checkpoints, or no concept `task` beside others.
        InvkitError: as :func:`invkit.profile`.
    """
    explainer = as_explainer(explainer)
    concepts = explainer.train.concepts
    if task not in concepts or len(concepts) < 2:
        raise SettingsError(
            f"There is no concept '{task}' beside others to compare it with",
            expected=f"'{task}' and at least one other",
            got=", ".join(concepts) or "none",
            hint="Pass concepts={name: labels}.",
        )
    given = models if isinstance(models, Mapping) else {step: copy.deepcopy(model) for step, model in models()}
    interpretees = {str(step): as_interpretee(given[step], preprocess) for step in _in_order(given)}
    if len(interpretees) < 2:
        raise SettingsError("A curve over training takes two checkpoints or more", got=len(interpretees))
    explainer.check([(interpretee, [layer]) for interpretee in interpretees.values()])
    found = {}
    for step, interpretee in interpretees.items():
        found[step] = explain_layers(explainer, interpretee, [layer], f"step {step},")[layer]
    profile = Profile(found, axis="training step")
    shares = [explanation.concepts() for explanation in found.values()]
    growth = {name: shares[-1][name] - shares[0][name] for name in concepts}
    as_said = [shows(change if name == task else -change) for name, change in growth.items()]
    return Study(
        "dynamics",
        "What a layer comes to keep while its network learns",
        _CLAIM.format(task=task),
        {f"growth of {name}": change for name, change in growth.items()},
        verdict(*as_said),
        {"checkpoints": profile.to_dict()},
        [*profile.sections(), protocol_section(found[next(iter(found))].protocol)],
    )


def _in_order(steps: Iterable[Any]) -> list[Any]:
    """Return steps in the order of their numbers, which a shell's `*.pt` does not; others as they come."""
    names = list(steps)
    try:
        return sorted(names, key=float)
    except (TypeError, ValueError):
        return names

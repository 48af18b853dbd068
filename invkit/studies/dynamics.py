"""What a layer keeps while its network learns (paper, sec. 4.2 and B.4)."""

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
    "While a network learns, a late layer comes to represent what its task needs and discards the rest: the share of "
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
    """Explain one layer at checkpoints of a network's training (paper, sec. 4.2 and B.4).

    Args:
        explainer: an :class:`invkit.Explainer`, its folder, or images for one with default settings.
        models: two or more checkpoints by training step, in order (numbers are sorted); or a function that trains and
            yields pairs (step, model), each of which is copied.
        layer: address of the layer.
        task: name of the concept that the network is trained on.
        preprocess: from images in [0, 1] to the models' input.

    Returns:
        the study. Its headline holds the growth of each concept's share (eq. 20) from the first to the last checkpoint.
        The claim holds if that of the task is positive and all others are negative by two standard errors; it fails if
        one of them is significantly short of 0.02.

    Raises:
        SettingsError: fewer than two checkpoints, or no concept `task` beside others.
        InvkitError: as :func:`invkit.profile`.

    Example:
        >>> study = invkit.studies.dynamics(explainer, {0: network, 100: network}, "4", task="digit")
        >>> list(study.metrics["checkpoints"])
        ['0', '100']
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
        raise SettingsError("A curve over training needs two checkpoints or more", got=len(interpretees))
    explainer.check([(interpretee, [layer]) for interpretee in interpretees.values()])
    found = {}
    for step, interpretee in interpretees.items():
        found[step] = explain_layers(explainer, interpretee, [layer], f"step {step},")[layer]
    profile = Profile(found, axis="training step")
    shares = [explanation.concepts() for explanation in found.values()]
    growth = {name: shares[-1][name] - shares[0][name] for name in concepts}
    verdicts = [shows(change if name == task else -change) for name, change in growth.items()]
    return Study(
        "dynamics",
        "What a layer keeps while its network learns",
        _CLAIM.format(task=task),
        {f"growth of {name}": change for name, change in growth.items()},
        verdict(*verdicts),
        {"checkpoints": profile.to_dict()},
        [*profile.sections(), protocol_section(found[next(iter(found))].protocol)],
    )


def _in_order(steps: Iterable[Any]) -> list[Any]:
    """Return steps sorted by number, which a shell's `*.pt` is not; other names in the given order."""
    names = list(steps)
    try:
        return sorted(names, key=float)
    except (TypeError, ValueError):
        return names

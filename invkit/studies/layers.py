"""Invariance and concepts over the depth of a network (paper, sec. 4.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from invkit.core import Estimate, Interpretee
from invkit.data import ImageSet, represent_all
from invkit.evaluation import invariance_rise
from invkit.explainer import Explainer, as_explainer, find_layers
from invkit.explanation import Explanation
from invkit.explanation.profile import Profile
from invkit.explanation.sections import protocol_section
from invkit.interpretees import as_interpretee
from invkit.studies.study import Study, shows, verdict
from invkit.studies.subjects import check_several, explain_layers

__all__ = ["layers"]

_CLAIM = (
    "Going down a network, each layer keeps less of the image than the one before it: invariance grows with depth "
    "(sec. 4.2)."
)


def layers(
    explainer: Explainer | Any,
    model: str | nn.Module | Interpretee,
    layers: str | nn.Module | Sequence[str | nn.Module],
    *,
    preprocess: Callable[[Tensor], Tensor] | None = None,
) -> Study:
    """Compare samples, invariance and concepts over the layers of a network (paper, sec. 4.2).

    Args:
        explainer: an :class:`invkit.Explainer`, its folder, or images for one with default settings.
        model: as in :func:`invkit.profile`.
        layers: two or more addresses, modules or globs, from early to late.
        preprocess: from images in [0, 1] to the model's input.

    Returns:
        the study. Its headline holds the invariance at each layer, and the last layer's minus the first one's. The
        claim holds if that difference is above two standard errors and invariance falls by as much from no layer to the
        next. It fails if it does, or if the difference is significantly below 0.02.

    Raises:
        SettingsError: fewer than two layers.
        InvkitError: as :func:`invkit.profile`.

    Example:
        >>> study = invkit.studies.layers(explainer, network, ["0", "4"])
        >>> list(study.headline)
        ['invariance at 0', 'invariance at 4', 'last less first']
    """
    interpretee = as_interpretee(model, preprocess)
    addresses = find_layers(interpretee, layers)
    check_several(addresses)
    explainer = as_explainer(explainer)
    explainer.check([(interpretee, addresses)])
    profile = Profile(explain_layers(explainer, interpretee, addresses))
    found = profile.invariance()
    whole = _rise(profile[addresses[0]], profile[addresses[-1]])
    rises = [_rise(profile[a], profile[b]) for a, b in pairwise(addresses)]
    return Study(
        "layers",
        "What the layers keep, one after the other",
        _CLAIM,
        {**{f"invariance at {layer}": estimate for layer, estimate in found.items()}, "last less first": whole},
        verdict(shows(whole), *(_is_no_fall(rise) for rise in rises)),
        {"layers": profile.to_dict()},
        [*profile.sections(every=True), protocol_section(profile[addresses[0]].protocol)],
    )


def _is_no_fall(rise: Estimate) -> bool | None:
    """Test that invariance does not fall significantly between two layers; None if its error is unknown."""
    return (-rise).exceeds() is not True if rise.is_known else None


def _rise(earlier: Explanation, later: Explanation) -> Estimate:
    """Return the rise of invariance, on the images of the explanation that holds fewer."""
    data = min((each.held_out.data for each in (earlier, later)), key=len)
    a, b = ((each.t, _representations(each, data)) for each in (earlier, later))
    return invariance_rise(a, b, groups=data.groups, seed=earlier.seed)


def _representations(explanation: Explanation, data: ImageSet) -> Tensor:
    if len(explanation.held_out.data) == len(data):
        return explanation.held_out.z  # equal numbers of held-out images are the same images
    found = represent_all(explanation.model, [explanation.layer], data)
    return found[explanation.layer][slice(None)]

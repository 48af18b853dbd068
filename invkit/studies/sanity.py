"""An explanation must depend on the model's weights, and find nothing in shuffled pairs (Adebayo et al., 2018)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn

from invkit.core import Estimate, Interpretee
from invkit.data import Codes, ImageSet, evenly_spaced
from invkit.errors import DataError, SettingsError
from invkit.evaluation import cascade
from invkit.evaluation.estimate import mean_estimate
from invkit.explainer import Explainer, as_explainer, one_layer
from invkit.explainer.invariance import model_key, train_t
from invkit.explainer.results import explanation_of
from invkit.explanation import Explanation
from invkit.explanation.fidelity import FEWEST, is_enough
from invkit.explanation.profile import Profile
from invkit.explanation.sections import protocol_section
from invkit.interpretees import ModuleInterpretee, as_interpretee
from invkit.report import Section, Table
from invkit.studies.study import Study, shows, verdict
from invkit.studies.subjects import explain_layers
from invkit.utils.io import content_hash
from invkit.utils.random import generator_for

__all__ = ["explain_shuffled", "finds_nothing", "is_another", "sanity"]

ORIGINAL, SHUFFLED = "as it is", "with shuffled pairs"

_CLAIM = (
    "An explanation depends on the model's weights: other weights give another explanation. If representations are "
    "paired with other images' codes, t finds no information in them."
)
_MAPS, _DRAWS = 64, 16  # images with a map of what is open, and samples of each
_LEVEL = 0.0027  # significance of any change, that of three standard errors
_TENTH = 0.1  # share of the gain from true pairs below which a gain counts as 0


def sanity(
    explainer: Explainer | Any,
    model: nn.Module | Interpretee | str,
    layer: str,
    *,
    stages: int = 2,
    preprocess: Callable[[Tensor], Tensor] | None = None,
) -> Study:
    """Explain a layer with more and more of the model's parameters randomised, and with shuffled pairs.

    Args:
        explainer: an :class:`invkit.Explainer`, its folder, or images for one with default settings.
        model: an `nn.Module`, or a plugin's name for one.
        layer: address of the layer.
        stages: number of models with randomised parameters, 1 or more. Randomisation goes from the output to the input;
            in the last model all parameters are random.
        preprocess: from images in [0, 1] to the model's input.

    Returns:
        the study. Its headline holds the change of invariance and of each concept's share from the model to the fully
        randomised one, and what t gains from z with true and with shuffled pairs, in nats per dimension. The claim
        holds if any change is significant at the level 0.0027 over all of them together (errors are those of the
        held-out images, not of training), and the gain from shuffled pairs is below a tenth of that from true pairs by
        two standard errors. It fails if no share changes by 0.02, or if that gain exceeds the tenth by as much.

    Raises:
        SettingsError: a model without weights or with inaccessible ones, or no stages.
        LayerError: more than one layer.
        DataError: too few held-out images.
        InvkitError: as :func:`invkit.profile`.

    Example:
        >>> study = invkit.studies.sanity(explainer, network, "4", stages=1)
        >>> list(study.metrics["explanations"])
        ['as it is', 'randomised 1, 100% of the weights', 'with shuffled pairs']
    """
    interpretee = _with_weights(as_interpretee(model, preprocess), stages)
    address = one_layer(interpretee, layer)
    explainer = as_explainer(explainer)
    _check_enough(explainer.held_out)
    explainer.check((1 + stages) * [(interpretee, [address])])
    found = {ORIGINAL: explain_layers(explainer, interpretee, [address], ORIGINAL)[address]}
    for k, (share, other) in enumerate(cascade(interpretee.module, stages, explainer.seed)):
        name = f"randomised {k + 1}, {share:.0%} of the weights"
        found[name] = explain_layers(explainer, interpretee.around(other), [address], name)[address]
    changes = _changes(found[ORIGINAL], found[name])
    found[SHUFFLED] = explain_shuffled(explainer, interpretee, address)
    return _study_of(found, changes)


def _check_enough(held_out: ImageSet) -> None:
    if not is_enough(held_out):
        raise DataError(
            "Too few held-out images to compare explanations",
            expected=f"{FEWEST} or more independent ones",
            got=len(held_out),
            hint="Pass more images, or `held_out`.",
        )


def _with_weights(interpretee: Interpretee, stages: int) -> ModuleInterpretee:
    """Return the interpretee if its weights can be randomised, else raise an error."""
    if not isinstance(interpretee, ModuleInterpretee):
        raise SettingsError(
            "The weights of this model cannot be reached", expected="an nn.Module", got=type(interpretee).__name__
        )
    if stages < 1 or not any(True for _ in interpretee.module.parameters()):
        raise SettingsError(
            "There are no weights to randomise",
            expected="a model with parameters, and stages of 1 or more",
            got=f"{type(interpretee.module).__name__}, stages={stages}",
        )
    return interpretee


def explain_shuffled(explainer: Explainer, interpretee: ModuleInterpretee, layer: str) -> Explanation:
    """Explain a layer with the codes of the training images permuted against their representations."""
    z = explainer.representations(interpretee, [layer])[layer]
    rows = torch.randperm(len(explainer.train_copies), generator=generator_for(explainer.seed, "shuffled"))
    codes = Codes(explainer.codes.mean[rows], explainer.codes.std[rows])
    key = content_hash(model_key(explainer, interpretee, [layer])[layer], layer, "shuffled")
    t, _ = train_t(explainer, z, key, f"t {SHUFFLED}", codes=codes, strict=True)
    return explanation_of(explainer, interpretee, layer, t, z)


def _study_of(found: Mapping[str, Explanation], changes: Mapping[str, Estimate]) -> Study:
    """Return the study of these explanations."""
    most = max(changes, key=lambda name: abs(changes[name].value) / max(changes[name].standard_error, 1e-12))
    gains = {name: _gain(found[name]) for name in (ORIGINAL, SHUFFLED)}
    maps = _likeness(found)
    return Study(
        "sanity",
        "Whether the explanation depends on the model",
        _CLAIM,
        {
            **{f"change of {name}, all weights randomised": change for name, change in changes.items()},
            "gain from z, true pairs": gains[ORIGINAL],
            "gain from z, shuffled pairs": gains[SHUFFLED],
        },
        verdict(is_another(changes), finds_nothing(gains[ORIGINAL], gains[SHUFFLED])),
        {
            "changes": {name: vars(change) for name, change in changes.items()},
            "explanations": Profile(found).to_dict(),
            "likeness of maps": {name: vars(value) for name, value in maps.items()},
        },
        [
            _changes_section(changes, most),
            _likeness_section(maps),
            *Profile(found, axis="model").sections(every=True),
            protocol_section(found[ORIGINAL].protocol),
        ],
    )


def is_another(changes: Mapping[str, Estimate]) -> bool | None:
    """Test whether any metric changed, corrected for their number; None if that is open."""
    beyond = NormalDist().inv_cdf(1 - _LEVEL / (2 * len(changes)))
    shown = [shows(abs(change), beyond) for change in changes.values()]
    return True if True in shown else None if None in shown else False


def finds_nothing(true: Estimate, shuffled: Estimate) -> bool | None:
    """Test whether the gain from shuffled pairs is below a tenth of that from true pairs; None if these give none."""
    tenth = _TENTH * true
    return (tenth - shuffled).exceeds() if true.exceeds() else None


def _gain(explanation: Explanation) -> Estimate:
    gain = explanation.fidelity().metrics["gain from z"]
    assert isinstance(gain, Estimate)
    return gain


def _changes(a: Explanation, b: Explanation) -> dict[str, Estimate]:
    shares = a.concepts(), b.concepts()
    return {"invariance": b.invariance() - a.invariance()} | {
        name: shares[1][name] - shares[0][name] for name in shares[0]
    }


def _likeness(found: Mapping[str, Explanation]) -> dict[str, Estimate]:
    """Return the mean rank correlation of each explanation's maps of what is open with the original's."""
    from scipy.stats import spearmanr

    data = found[ORIGINAL].held_out.data
    rows = evenly_spaced(len(data), _MAPS)
    groups = None if data.groups is None else data.groups[rows]
    maps = {name: _open_maps(each, rows) for name, each in found.items()}
    likeness = {}
    for name, other in maps.items():
        if name != ORIGINAL:
            pairs = zip(maps[ORIGINAL], other, strict=True)
            ranks = torch.tensor([float(spearmanr(own, its).statistic) for own, its in pairs])
            likeness[name] = mean_estimate(ranks.nan_to_num(), groups)
    return likeness


def _open_maps(explanation: Explanation, rows: Tensor) -> Tensor:
    """Return the standard deviation of samples of held-out images at each pixel, (B, S²)."""
    return explanation.sample_from(explanation.held_out.z[rows], _DRAWS).std(1).mean(1).flatten(1)


def _changes_section(changes: Mapping[str, Estimate], most: str) -> Section:
    text = (
        "Changes from the model as it is to the one with all weights randomised. The explanation has changed if any "
        f"of them exceeds its error; the largest relative to its error is that of {most}."
    )
    rows = [[name, str(value)] for name, value in changes.items()]
    return Section("How the metrics change", text, (), [Table(["", "change"], rows)])


def _likeness_section(maps: Mapping[str, Estimate]) -> Section:
    text = (
        "For each pixel, the spread of samples of one image shows how much the layer leaves open there. The table has "
        "the rank correlation of these maps with those of the model itself: 1 if the explanation did not change."
    )
    rows = [[name, str(value)] for name, value in maps.items()]
    return Section("Similarity of the maps of what is open", text, (), [Table(["", "rank correlation"], rows)])

"""Checks of an installed plugin: its hooks, and everything that it offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from torch import nn

from invkit.core import Autoencoder, Embedder, FlowBlock, Interpretee
from invkit.data import ImageSet, as_image_set
from invkit.errors import DataError, InvkitError
from invkit.plugins import Kind, call, list_names, load_named, load_plugin
from invkit.plugins.manager import hook_of
from invkit.testing import autoencoder, embedder, subject
from invkit.testing.autoencoder import AUTOENCODER_CHECKS
from invkit.testing.compare import expect
from invkit.testing.embedder import EMBEDDER_CHECKS
from invkit.testing.flow_block import FLOW_BLOCK_CHECKS, blocks_by_codes
from invkit.testing.interpretee import INTERPRETEE_CHECKS
from invkit.testing.report import CheckResult, NotApplicableError, Report, conclude, run_checks

__all__ = ["PLUGIN_CHECKS", "check_plugin"]

_CONTRACTS: dict[Kind, type] = {
    "model": Interpretee, "autoencoder": Autoencoder, "flow_block": FlowBlock, "embedder": Embedder,
    "dataset": object,
}  # fmt: skip
_NO_WEIGHTS = "no such weights"
_WEIGHTS = {"weights": "random", "local_files_only": True}
_ARGUMENTS: dict[Kind, dict[str, Any]] = {
    "model": _WEIGHTS,
    "autoencoder": _WEIGHTS,
    "flow_block": {"shape": (4,), "dim": 4, "condition_dim": 3, "width": 16, "depth": 1, "seed": 0, "index": 0},
    "embedder": {"shape": (4,), "dim": 3},
    "dataset": {},
}


@dataclass(frozen=True)
class Subject:
    """A plugin under test, by its prefix."""

    prefix: str


def it_loads(s: Subject) -> None:
    """It can be imported, has this API version, and implements no unknown hook."""
    load_plugin(s.prefix)


def it_lists_names(s: Subject) -> str:
    """It lists strings, each once, and the same ones at each call."""
    counts = []
    for kind in get_args(Kind):
        names = call(s.prefix, f"list_{kind}s")
        if names is None:
            continue
        expect(not isinstance(names, str), f"list_{kind}s() returns one string instead of several")
        names = list(names)
        expect(
            all(isinstance(name, str) and name for name in names),
            f"list_{kind}s() returns an element that is not a name",
        )
        expect(len(set(names)) == len(names), f"list_{kind}s() returns a name twice")
        expect(names == list(call(s.prefix, f"list_{kind}s")), f"two calls of list_{kind}s() differ")
        counts.append(f"{len(names)} {kind.replace('_', ' ')}s")
    return ", ".join(counts) or "nothing"


def an_unknown_name_is_none(s: Subject) -> None:
    """For an unknown name it returns None and raises nothing."""
    for kind in get_args(Kind):
        hook = hook_of(kind)
        found = call(s.prefix, hook, name="no such name", **_ARGUMENTS[kind])
        expect(found is None, f"{hook}('no such name') returns {type(found).__name__}")


def it_claims_no_foreign_module(s: Subject) -> None:
    """It does not claim a module of an unknown class."""
    claimed = call(s.prefix, "claim_model", module=_Foreign(), preprocess=None)
    expect(claimed is None, f"it claims a module that it cannot know, as {claimed!r}")


class _Foreign(nn.Module):
    """A module of no library."""


PLUGIN_CHECKS: dict[str, Callable[[Subject], str | None]] = {
    check.__name__: check for check in (it_loads, it_lists_names, an_unknown_name_is_none, it_claims_no_foreign_module)
}


def check_plugin(
    prefix: str,
    *,
    models: Sequence[str] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    raise_on_failure: bool = True,
) -> Report:
    """Check an installed plugin, then all that it offers: flow blocks, embedders, autoencoders, data sets, some models.

    Nothing is downloaded: models and autoencoders have random weights. Checks of an object that the plugin offers are
    named ``kind name: check``, for instance ``model tiny: it_is_deterministic``.

    Args:
        prefix: name of the plugin's entry point.
        models: names of models to check, without the prefix; None for the first that it lists.
        expected_failures: reasons by names of checks that fail.
        raise_on_failure: False returns the report in any case.

    Returns:
        the result of each check.

    Raises:
        AssertionError: a check failed unexpectedly, or an expected failure passed.
        SettingsError: an expected failure is not the name of a check.

    Example:
        >>> report = check_plugin("torchvision", models=[])
        >>> print(report.results[0].name, report.results[0].outcome)
        it_loads passed
    """
    results = run_checks(PLUGIN_CHECKS, Subject(prefix))
    if all(result.outcome == "passed" for result in results[:2]):
        for kind in get_args(Kind):
            names = list_names(kind, prefix).get(prefix, [])
            if kind == "model":
                names = list(models) if models is not None else names[:1]
            for name in names:
                results += _check_offered(kind, prefix, name)
    return conclude(f"plugin {prefix}", results, expected_failures, raise_on_failure)


def _check_offered(kind: Kind, prefix: str, name: str) -> list[CheckResult]:
    """Check one object that a plugin offers: that it can be loaded, then the checks of its kind."""
    load = partial(load_named, kind, f"{prefix}:{name}", _CONTRACTS[kind])
    loaded: list[Any] = []

    def it_can_be_loaded(_: None) -> None:
        try:
            if kind == "flow_block":
                loaded.append(blocks_by_codes(load))
            elif kind == "embedder":
                loaded.append(embedder.Subject(lambda shape, dim: load(shape=shape, dim=dim)))
                loaded[0].cases  # noqa: B018  # builds them
            else:
                loaded.append(load(**_ARGUMENTS[kind]))
        except DataError as error:
            raise NotApplicableError(f"its files are not here: {error.what}") from error

    def unknown_weights_are_an_error(_: None) -> None:
        """Weights that do not exist raise an error; a hook that ignores `weights` would load others unnoticed."""
        try:
            load(weights=_NO_WEIGHTS, local_files_only=True)
        except InvkitError:
            return
        raise AssertionError(f"weights={_NO_WEIGHTS!r} raises nothing: does `{hook_of(kind)}` ignore `weights`?")

    title = f"{kind} {name}: "
    checks = [it_can_be_loaded] + ([unknown_weights_are_an_error] if "weights" in _ARGUMENTS[kind] else [])
    results = run_checks({check.__name__: check for check in checks}, None, title)
    for thing in loaded:
        if kind == "model":
            results += run_checks(INTERPRETEE_CHECKS, subject.Subject(thing), title)
        elif kind == "autoencoder":
            results += run_checks(AUTOENCODER_CHECKS, autoencoder.Subject(thing), title)
        elif kind == "flow_block":
            for codes, blocks in thing.items():
                of_codes = title if codes == "vectors" else f"{kind} {name}, {codes}: "
                results += run_checks(FLOW_BLOCK_CHECKS, blocks, of_codes)
        elif kind == "embedder":
            results += run_checks(EMBEDDER_CHECKS, thing, title)
        else:
            results += run_checks({"its_images_can_be_read": _its_images_can_be_read}, thing, title)
    return results


def _its_images_can_be_read(data: Any) -> str:
    """Read its first images as an ImageSet."""
    if isinstance(data, ImageSet):
        images = data
    elif hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, str):
        first = [data[k] for k in range(min(4, len(data)))]  # without labels: a few images are not enough for a concept
        images = as_image_set([i[0] if isinstance(i, (tuple, list)) else i for i in first])
    else:
        images = as_image_set(data)
    expect(len(images) > 0, "it has no images")
    return f"{len(images)} images of {images.size} px"

"""Plugins: found without importing them, loaded one by one, and isolated from each other."""

from __future__ import annotations

import difflib
import importlib.metadata
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pluggy

from invkit.errors import InvkitError, InvkitWarning, PluginError
from invkit.plugins import hookspecs

__all__ = ["Kind", "PluginInfo", "ask", "call", "forget", "list_names", "list_plugins", "load_named", "load_plugin"]

GROUP = "invkit"
BUILT_IN = importlib.metadata.EntryPoint(GROUP, "invkit.plugins.builtin", GROUP)
Kind = Literal["model", "autoencoder", "flow_block", "embedder", "dataset"]
State = Literal["found", "loaded", "broken", "blocked", "duplicate"]


@dataclass(frozen=True)
class PluginInfo:
    """An installed plugin and its state.

    Attributes:
        prefix: what its names begin with.
        module: the module that its entry point names.
        distribution: the installed package that contains it.
        version: version of that package.
        state: `found` (not imported so far), `loaded`, `broken`, `blocked` (not in INVKIT_PLUGINS), or `duplicate`
            (another distribution has the same prefix).
        error: why it is broken.

    Example:
        >>> from invkit.plugins import list_plugins
        >>> next(plugin.module for plugin in list_plugins() if plugin.prefix == "invkit")
        'invkit.plugins.builtin'
    """

    prefix: str
    module: str
    distribution: str
    version: str
    state: State = "found"
    error: str = ""


@cache
def _entry_points() -> dict[str, tuple[importlib.metadata.EntryPoint, ...]]:
    """Find entry points by prefix, without importing any of them; the prefix of invkit is its own."""
    found: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for point in importlib.metadata.entry_points(group=GROUP):
        found.setdefault(point.name, []).append(point)
    own = [point for point in found.get(GROUP, []) if point.value == BUILT_IN.value]
    found[GROUP] = own or [BUILT_IN]
    return {prefix: tuple(dict.fromkeys(points)) for prefix, points in sorted(found.items())}


#: each plugin that was loaded, or why it cannot be
_outcomes: dict[str, pluggy.PluginManager | PluginError] = {}
_reported: set[str] = set()


def _import(point: importlib.metadata.EntryPoint) -> pluggy.PluginManager | PluginError:
    """Import a plugin into its own pluggy manager."""
    manager = pluggy.PluginManager("invkit")
    manager.add_hookspecs(hookspecs)
    try:
        module = point.load()
        api = getattr(module, "INVKIT_API", None)
        if api != hookspecs.API_VERSION:
            raise PluginError(
                "It was written for another version of invkit's plugin interface",
                expected=f"INVKIT_API = {hookspecs.API_VERSION}",
                got=api,
            )
        manager.register(module)
        manager.check_pending()
    except (Exception, SystemExit) as error:
        return _broken(point, "cannot be loaded", error)
    return manager


def _owner(point: importlib.metadata.EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("?", "?")


def _broken(point: importlib.metadata.EntryPoint, what: str, error: BaseException) -> PluginError:
    name, version = _owner(point)
    found = PluginError(
        f"The plugin '{point.name}' of {name} {version} {what}",
        got=f"{type(error).__name__}: {error}",
        hint=f"Update it, or `pip uninstall {name}`; all else works without it.",
    )
    found.__cause__ = error
    return found


def _allowed(prefix: str) -> bool:
    names = os.environ.get("INVKIT_PLUGINS")
    return names is None or prefix == GROUP or prefix in {name.strip() for name in names.split(",")}


def list_plugins(*, load: bool = False) -> list[PluginInfo]:
    """List all installed plugins with their state.

    Args:
        load: import each to find those that are broken; otherwise nothing is imported.

    Example:
        >>> from invkit.plugins import list_plugins
        >>> "invkit" in [plugin.prefix for plugin in list_plugins()]
        True
    """
    listed = []
    for prefix, points in _entry_points().items():
        for point in points:
            state: State = "found"
            error = ""
            if not _allowed(prefix):
                state = "blocked"
            elif len(points) > 1:
                state = "duplicate"
            elif load or prefix in _outcomes:
                outcome = _outcome(point)
                state = "broken" if isinstance(outcome, PluginError) else "loaded"
                error = str(outcome.got) if isinstance(outcome, PluginError) else ""
            listed.append(PluginInfo(prefix, point.value, *_owner(point), state, error))
    return listed


def _outcome(point: importlib.metadata.EntryPoint) -> pluggy.PluginManager | PluginError:
    if point.name not in _outcomes:
        _outcomes[point.name] = _import(point)
    return _outcomes[point.name]


def load_plugin(prefix: str) -> pluggy.PluginManager:
    """Import the plugin of a prefix, and no other.

    Raises:
        PluginError: there is none, it is blocked or broken, or two distributions have the prefix.

    Example:
        >>> from invkit.plugins import load_plugin
        >>> load_plugin("invkit").hook.list_embedders()
        ['lean', 'paper']
    """
    points = _entry_points().get(prefix, ())
    if not points:
        raise PluginError(
            f"No plugin '{prefix}'",
            expected=", ".join(_entry_points()) or "at least one installed plugin",
            hint="`invkit plugins list` shows them; a plugin is installed with pip.",
        )
    if not _allowed(prefix):
        raise PluginError(
            f"The plugin '{prefix}' is blocked",
            expected=f"'{prefix}' in INVKIT_PLUGINS",
            got=os.environ["INVKIT_PLUGINS"],
        )
    if len(points) > 1:
        raise PluginError(
            f"Two plugins have the prefix '{prefix}'",
            got=" and ".join(" ".join(_owner(point)) for point in points),
            hint="Uninstall one of them.",
        )
    outcome = _outcome(points[0])
    if isinstance(outcome, PluginError):
        raise outcome
    return outcome


def _each_plugin() -> Iterator[str]:
    """Yield each prefix that can be loaded; warn once of others, or raise with INVKIT_STRICT_PLUGINS=1."""
    for prefix in _entry_points():
        if not _allowed(prefix):
            continue
        try:
            load_plugin(prefix)
        except PluginError as error:
            _report(error)
            continue
        yield prefix


def _report(error: InvkitError) -> None:
    if os.environ.get("INVKIT_STRICT_PLUGINS") == "1":
        raise error
    if str(error) not in _reported:
        _reported.add(str(error))
        warnings.warn(str(error), InvkitWarning, stacklevel=4)


def call(prefix: str, hook: str, **arguments: Any) -> Any:
    """Call one hook of one plugin; return None if the plugin doesn't implement it.

    Raises:
        PluginError: the plugin can't be loaded, or the hook raised anything but an InvkitError.

    Example:
        >>> from invkit.plugins import call
        >>> call("invkit", "list_embedders")
        ['lean', 'paper']
    """
    manager = load_plugin(prefix)
    try:
        return getattr(manager.hook, hook)(**arguments)
    except (InvkitError, InvkitWarning, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:
        raise _broken(_entry_points()[prefix][0], f"failed in `{hook}`", error) from error


def _taken(prefix: str, hook: str) -> set[str]:
    """Return the names of the arguments that a plugin's hook takes; pluggy drops all others."""
    return {name for impl in getattr(load_plugin(prefix).hook, hook).get_hookimpls() for name in impl.argnames}


def ask(hook: str, expected: type, **arguments: Any) -> Any:
    """Return the first result of any plugin that isn't None; warn of a plugin that fails and try the next.

    A plugin whose hook leaves out an argument that is not None is skipped.

    Args:
        hook: its name.
        expected: type of a result.
        arguments: arguments of the hook.

    Example:
        >>> from torch import nn
        >>> from invkit.core import Interpretee
        >>> from invkit.plugins import ask
        >>> ask("claim_model", Interpretee, module=nn.Identity(), preprocess=None) is None
        True
    """
    for prefix in _each_plugin():
        if {name for name, value in arguments.items() if value is not None} - _taken(prefix, hook):
            continue
        try:
            answer = call(prefix, hook, **arguments)
            if answer is not None:
                return _checked(prefix, hook, answer, expected)
        except InvkitError as error:
            _report(error)
    return None


def _checked(prefix: str, hook: str, answer: Any, expected: type) -> Any:
    if not isinstance(answer, expected):
        raise PluginError(
            f"The plugin '{prefix}' returned another type in `{hook}`",
            expected=expected.__name__,
            got=type(answer).__name__,
        )
    return answer


def list_names(kind: Kind, prefix: str | None = None) -> dict[str, list[str]]:
    """Return the names that plugins offer, by prefix.

    Args:
        kind: model, autoencoder, flow_block, embedder or dataset.
        prefix: prefix of one plugin; None for all.

    Example:
        >>> from invkit.plugins import list_names
        >>> list_names("dataset", "invkit")
        {'invkit': ['color-digits', 'mnist', 'fashion-mnist']}
    """
    found = {}
    for each in _each_plugin() if prefix is None else [prefix]:
        try:
            names = _names(kind, each)
        except InvkitError as error:
            if prefix is not None:
                raise
            _report(error)
            continue
        if names:
            found[each] = names
    return found


def _names(kind: Kind, prefix: str) -> list[str]:
    listed = call(prefix, f"list_{kind}s")
    try:
        names = [] if listed is None else list(listed)
    except Exception as error:  # no iterable, or a generator that fails
        raise _broken(_entry_points()[prefix][0], f"failed in `list_{kind}s`", error) from error
    if isinstance(listed, str) or not all(isinstance(name, str) for name in names):
        raise PluginError(
            f"The plugin '{prefix}' lists {kind}s without a name", expected="several strings", got=repr(listed)[:80]
        )
    return names


def load_named(kind: Kind, text: str, expected: type, **arguments: Any) -> Any:
    """Return what a name stands for: ``prefix:name``, a bare built-in name, or one that exactly one plugin offers.

    A bare name that is built in is never ambiguous, and no other plugin is imported for it.

    Args:
        kind: model, autoencoder, flow_block, embedder or dataset.
        text: the name.
        expected: type of the result.
        arguments: arguments of the plugin's hook.

    Raises:
        PluginError: no plugin offers the name, several do, or the plugin failed or returned another type.

    Example:
        >>> from invkit.core import Embedder
        >>> from invkit.plugins import load_named
        >>> load_named("embedder", "lean", Embedder, shape=(8,), dim=4).condition_dim
        4
    """
    prefixes = [prefix for prefix in _entry_points() if text.startswith(f"{prefix}:")]
    prefix = max(prefixes, key=len) if prefixes else _offering(kind, text)
    name = text.removeprefix(f"{prefix}:")
    hook = hook_of(kind)
    weights = arguments.get("weights")
    if isinstance(weights, Path):
        arguments["weights"] = weights = str(weights)
    if weights not in (None, "random") and "weights" not in _taken(prefix, hook):
        raise PluginError(
            f"The plugin '{prefix}' takes no weights for its {kind}s", expected="no `weights`", got=weights
        )
    result = call(prefix, hook, name=name, **arguments)
    if result is None:
        raise _unknown(kind, text, {prefix: list_names(kind, prefix).get(prefix, [])})
    return _checked(prefix, hook, result, expected)


def hook_of(kind: Kind) -> str:
    """Return the name of the hook that loads or builds a thing of one kind."""
    return f"build_{kind}" if kind in ("flow_block", "embedder") else f"load_{kind}"


def _offering(kind: Kind, text: str) -> str:
    """Return the prefix of the plugin that offers a bare name; a built-in one goes first."""

    def offers(names: list[str]) -> bool:
        return text in names or text.partition(":")[0] in names

    if offers(_names(kind, GROUP)):
        return GROUP
    names = list_names(kind)
    prefixes = [prefix for prefix, offered in names.items() if offers(offered)]
    if len(prefixes) > 1:
        raise PluginError(
            f"Several plugins offer '{text}'",
            expected="one of " + ", ".join(f"{prefix}:{text}" for prefix in prefixes),
        )
    if not prefixes:
        raise _unknown(kind, text, names)
    return prefixes[0]


def _unknown(kind: Kind, text: str, names: dict[str, list[str]]) -> PluginError:
    offered = [f"{prefix}:{name}" for prefix, each in names.items() for name in each]
    bare = {name.partition(":")[2]: name for name in offered}
    near = difflib.get_close_matches(text, offered, 4, 0.4)
    near += [bare[name] for name in difflib.get_close_matches(text.rpartition(":")[2], bare, 4, 0.5)]
    hint = "`invkit models PATTERN` lists them." if kind == "model" else ""
    return PluginError(
        f"No {kind.replace('_', ' ')} '{text}'",
        expected="for instance " + ", ".join(list(dict.fromkeys(near or offered))[:6]) if offered else None,
        hint=f"{hint} More come with plugins, for instance `pip install invkit-timm`.".strip(),
    )


def forget() -> None:
    """Search for plugins again, for instance after one was installed; modules stay imported.

    Example:
        >>> from invkit.plugins import forget
        >>> forget()
    """
    _entry_points.cache_clear()
    _outcomes.clear()
    _reported.clear()

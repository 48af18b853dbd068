"""Plugins: the hooks that they implement, and the manager that finds and loads them one by one."""

from invkit.plugins.hookspecs import API_VERSION, hookimpl
from invkit.plugins.manager import (
    Kind,
    PluginInfo,
    ask,
    call,
    forget,
    list_names,
    list_plugins,
    load_named,
    load_plugin,
)

__all__ = [
    "API_VERSION",
    "Kind",
    "PluginInfo",
    "ask",
    "call",
    "forget",
    "hookimpl",
    "list_names",
    "list_plugins",
    "load_named",
    "load_plugin",
]

"""Template of a new plugin project, ready to run."""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from invkit.errors import SettingsError
from invkit.plugins.manager import list_plugins

__all__ = ["new_plugin"]

_FILES = ("pyproject.toml", "README.md", "src/plugin.py", "tests/test_plugin.py")


def new_plugin(name: str, into: Path) -> Path:
    """Write the project invkit-NAME into a folder.

    Args:
        name: prefix of the names that the plugin will offer: lower-case letters, digits and hyphens.
        into: folder in which the project's folder is created.

    Returns:
        the project's folder.

    Raises:
        SettingsError: a name that no package can have, a prefix that is taken, or a folder that exists.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from invkit.plugins.scaffold import new_plugin
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     new_plugin("zoo", Path(folder)).name
        'invkit-zoo'
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise SettingsError(
            f"'{name}' cannot be a plugin's name", expected="lower-case letters, digits and hyphens, as in my-models"
        )
    taken = {plugin.prefix: plugin.distribution for plugin in list_plugins()}
    if name in taken:
        raise SettingsError(
            f"The prefix '{name}' is that of {taken[name]}",
            expected="another prefix: two plugins with the same prefix cannot be used",
            hint="Choose another name, or uninstall the other plugin.",
        )
    folder = into / f"invkit-{name}"
    if folder.exists():
        raise SettingsError(f"{folder} exists already", hint="Choose another name or folder.")
    module = f"invkit_{name.replace('-', '_')}"
    environment = Environment(
        loader=PackageLoader("invkit.plugins.scaffold"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    for file in _FILES:
        target = folder / file.replace("src/plugin.py", f"src/{module}/__init__.py")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(environment.get_template(f"{file}.j2").render(name=name, module=module), encoding="utf-8")
    return folder

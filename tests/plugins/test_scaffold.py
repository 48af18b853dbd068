"""`invkit plugins new` makes a project whose own tests pass."""

import os
import subprocess
import sys

import pytest

from invkit.errors import SettingsError
from invkit.plugins.scaffold import new_plugin


def test_the_tests_of_a_new_plugin_pass_as_generated(tmp_path):
    folder = new_plugin("my-models", tmp_path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"], cwd=folder, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    assert "{{" not in "".join(
        file.read_text() for file in folder.rglob("*.*") if file.suffix in (".toml", ".md", ".py")
    )


def test_a_new_plugin_is_found_once_installed(install, tmp_path):
    from invkit.interpretees import load_model

    folder = new_plugin("zoo", tmp_path)
    install("zoo", (folder / "src" / "invkit_zoo" / "__init__.py").read_text())
    assert load_model("zoo:tiny").categories == ()


@pytest.mark.parametrize("name", ["", "Zoo", "a b", "../up", "zoo_1", "-zoo"])
def test_a_name_that_no_package_can_have_is_refused(tmp_path, name):
    with pytest.raises(SettingsError, match="lower-case"):
        new_plugin(name, tmp_path)


def test_a_prefix_that_is_taken_is_refused(install, tmp_path):
    install("zoo", "INVKIT_API = 1")
    for name in ("invkit", "zoo"):
        with pytest.raises(SettingsError, match=f"'{name}' is that of"):
            new_plugin(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_existing_folder_is_not_changed(tmp_path):
    new_plugin("zoo", tmp_path)
    with pytest.raises(SettingsError, match="exists already"):
        new_plugin("zoo", tmp_path)

"""docs/plugins.md: its code is a plugin that installs, passes the conformance kit and serves in an explanation."""

import re
import tomllib
from pathlib import Path

import pytest

from invkit.flows import FlowSettings
from invkit.plugins import list_names
from invkit.testing import check_plugin

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def code(file):
    return "\n".join(text for name, text in BLOCKS if name == file)


@pytest.fixture
def zoo(install):
    ((prefix, _),) = tomllib.loads(code("pyproject.toml"))["project"]["entry-points"]["invkit"].items()
    assert install(prefix, code("src/invkit_zoo/__init__.py"), "invkit-zoo") == "invkit_zoo"
    return prefix


def run(file):
    names = {}
    exec(compile(code(file), file, "exec"), names)
    return names


def test_every_block_of_code_names_its_file_and_is_run():
    assert len(BLOCKS) == PAGE.count("```") // 2
    files = {"pyproject.toml", "src/invkit_zoo/__init__.py", "tests/test_plugin.py", "tests/test_parts.py", "use.py"}
    assert {name for name, _ in BLOCKS} == files


def test_the_plugin_of_the_page_passes_the_kit_with_something_of_each_kind(zoo):
    report = check_plugin(zoo)
    for kind in ("model", "autoencoder", "flow_block", "embedder", "dataset"):
        ((name,),) = list_names(kind, zoo).values()
        assert any(r.name.startswith(f"{kind} {name}: ") and r.outcome == "passed" for r in report.results)


@pytest.mark.parametrize("file", ["tests/test_plugin.py", "tests/test_parts.py"])
def test_the_tests_of_the_page_pass(zoo, file):
    for name, test in list(run(file).items()):
        if name.startswith("test_"):
            test()


def test_the_example_of_use_runs(zoo, capsys):
    explanation = run("use.py")["explanation"]
    assert "±" in capsys.readouterr().out
    assert "Householder" in [type(block).__name__ for block in explanation.t.blocks.blocks]


def test_the_embedder_of_the_page_serves_by_name(zoo):
    h = FlowSettings(embedder="zoo:statistics").build_embedder((4, 5, 5), 6)
    assert type(h).__name__ == "Statistics"

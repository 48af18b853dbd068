"""Plugins: found without import, loaded one by one; a broken one is reported and affects no other."""

import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn

import invkit
from invkit.core import Interpretee
from invkit.errors import InvkitWarning, PluginError, SettingsError
from invkit.flows import FlowSettings, build_embedder, build_flow_block
from invkit.interpretees import ModuleInterpretee, Preprocess, as_interpretee, load_model
from invkit.plugins import call, list_names, list_plugins, load_plugin

GOOD = """
from invkit.plugins import hookimpl
INVKIT_API = 1
@hookimpl
def list_models():
    return ["tiny", "other"]
@hookimpl
def load_model(name):
    from torch import nn
    from invkit.interpretees import ModuleInterpretee, Preprocess
    return ModuleInterpretee(nn.Conv2d(3, 4, 3), Preprocess(size=16)) if name in list_models() else None
"""
HOOK = "from invkit.plugins import hookimpl\nINVKIT_API = 1\n@hookimpl\n"
BROKEN = {
    "raises at import": ("raise RuntimeError('no licence')", "no licence"),
    "exits at import": ("raise SystemExit(3)", "SystemExit"),
    "is no Python": ("def", "SyntaxError"),
    "lacks a package": ("import no_such_package", "no_such_package"),
    "states no version": ("", "INVKIT_API = 1"),
    "states another version": ("INVKIT_API = 7", "Got: 7"),
    "has an unknown hook": (f"{HOOK}def lode_model(name): pass", "lode_model"),
    "has a hook with an unknown argument": (f"{HOOK}def load_model(name, colour): pass", "colour"),
}
WRONG = {
    "raises when asked": (f"{HOOK}def load_model(name): raise ValueError('oh')\n", r"failed in `load_model`.*oh"),
    "gives nothing": (f"{HOOK}def load_model(name): return None\n", "No model 'bad:x'"),
    "gives something else": (f"{HOOK}def load_model(name): return 7\n", r"Expected: Interpretee\. Got: int"),
}


def info(prefix, **options):
    (found,) = (p for p in list_plugins(**options) if p.prefix == prefix)
    return found


def test_a_name_loads_its_plugin_and_no_other(install):
    good, bad = install("good", GOOD), install("bad", "raise RuntimeError")
    assert isinstance(load_model("good:tiny"), Interpretee)
    assert good in sys.modules
    assert bad not in sys.modules
    assert (info("good").state, info("bad").state) == ("loaded", "found")


def test_listing_imports_no_plugin(install):
    module = install("good", GOOD)
    assert (info("good").distribution, info("good").version) == ("invkit-0", "1.2.3")
    assert module not in sys.modules


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_is_reported_with_its_package_and_affects_no_other(install, kind):
    code, words = BROKEN[kind]
    install("bad", code, "invkit-bad", "0.3")
    install("good", GOOD)
    with pytest.raises(PluginError, match=r"invkit-bad 0\.3") as error:
        load_plugin("bad")
    assert words in str(error.value)
    assert (info("bad").state, info("good", load=True).state) == ("broken", "loaded")
    assert info("bad").error
    with pytest.warns(InvkitWarning, match="invkit-bad"):
        assert load_model("tiny") is not None
    assert load_model("tiny") is not None  # warned once


@pytest.mark.parametrize("kind", WRONG)
def test_a_plugin_that_returns_something_else_raises(install, kind):
    code, words = WRONG[kind]
    install("bad", code)
    with pytest.raises(PluginError, match=words):
        load_model("bad:x")


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ("[1, 2]", "without a name"),
        ("'tiny'", "without a name"),
        ("7", "TypeError"),
        ("(1 / (1 - k) for k in range(2))", "ZeroDivisionError"),
        ("__import__('invkit').Preprocess().shape + 1", "failed in `list_models`"),
    ],
)
def test_a_plugin_whose_list_is_wrong_is_skipped_with_a_warning(install, listed, words):
    install("bad", f"{HOOK}def list_models(): return {listed}\n")
    install("good", GOOD)
    with pytest.warns(InvkitWarning, match=words):
        assert list_names("model")["good"] == ["tiny", "other"]


def test_strict_plugins_raise_where_others_are_skipped(install, monkeypatch):
    install("bad", "raise RuntimeError('no licence')")
    install("good", GOOD)
    monkeypatch.setenv("INVKIT_STRICT_PLUGINS", "1")
    with pytest.raises(PluginError, match="no licence"):
        load_model("tiny")


def test_only_allowed_plugins_are_loaded(install, monkeypatch):
    install("good", GOOD)
    module = install("bad", "raise RuntimeError")
    monkeypatch.setenv("INVKIT_PLUGINS", "good,other")
    assert info("bad", load=True).state == "blocked"
    assert load_model("tiny") is not None
    assert module not in sys.modules
    with pytest.raises(PluginError, match="INVKIT_PLUGINS"):
        load_model("bad:x")


def test_two_with_one_prefix_are_an_error_at_use_that_names_both(install):
    install("zoo", GOOD, "invkit-zoo", "1")
    install("zoo", GOOD, "zoo-invkit", "2")
    assert {p.state for p in list_plugins() if p.prefix == "zoo"} == {"duplicate"}
    with pytest.raises(PluginError, match=r"invkit-zoo 1 and zoo-invkit 2|zoo-invkit 2 and invkit-zoo 1"):
        load_model("zoo:tiny")


@pytest.mark.parametrize("prefix", ["my-zoo", "zoo.v2", "zoo_2", "Zoo", "zoo:inner", "动物"])
def test_odd_prefixes_work(install, prefix):
    install(prefix, GOOD)
    assert isinstance(load_model(f"{prefix}:tiny"), Interpretee)


def test_a_bare_name_works_if_one_plugin_offers_it_and_lists_the_choices_if_several_do(install):
    install("one", GOOD)
    assert load_model("tiny") is not None
    install("two", GOOD)
    with pytest.raises(PluginError, match="one:tiny, two:tiny"):
        load_model("tiny")
    assert load_model("two:tiny") is not None


def test_an_unknown_name_lists_near_ones(install):
    install("one", GOOD)
    with pytest.raises(PluginError, match="one:tiny"):
        load_model("tinny")
    with pytest.raises(PluginError, match="one:tiny"):
        load_model("one:tiy")
    with pytest.raises(PluginError, match="No plugin 'none'"):
        call("none", "list_models")


CLAIM = f"""{HOOK}def claim_model(module, preprocess):
    from invkit.interpretees import ModuleInterpretee, Preprocess
    if hasattr(module, "mine"):
        return ModuleInterpretee(module, preprocess or Preprocess(size=20))
"""


def test_a_live_module_is_offered_to_plugins_and_the_built_in_takes_it_last(install):
    install("bad", f"{HOOK}def claim_model(module): raise ValueError('oh')\n")
    install("mine", CLAIM)
    mine, other = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    mine.mine = True
    with pytest.warns(InvkitWarning, match="claim_model"):
        claimed = as_interpretee(mine)
    assert claimed.preprocess == Preprocess(size=20)
    assert as_interpretee(torch.compile(mine), Preprocess(size=24)).preprocess == Preprocess(size=24)
    assert isinstance(as_interpretee(other, Preprocess()), ModuleInterpretee)


def test_a_wrong_claim_warns_and_the_next_plugin_is_tried(install):
    install("a-bad", f"{HOOK}def claim_model(module, preprocess): return True\n")
    install("mine", CLAIM)
    mine = nn.Conv2d(3, 4, 3)
    mine.mine = True
    with pytest.warns(InvkitWarning, match=r"a-bad.*claim_model.*Expected: Interpretee\. Got: bool"):
        assert as_interpretee(mine).preprocess == Preprocess(size=20)


def test_a_hook_never_ignores_an_argument_that_was_passed(install):
    install("zoo", GOOD)
    install("claims", f"{HOOK}def claim_model(module):\n    raise ValueError('not to be asked')\n")
    with pytest.raises(PluginError, match="'zoo' takes no weights"):
        load_model("zoo:tiny", weights="mine.pth")
    assert load_model("zoo:tiny", weights="random") is not None
    assert as_interpretee(nn.Conv2d(3, 4, 3), Preprocess(24)).preprocess == Preprocess(24)


def test_a_name_takes_another_preprocessing(install):
    install("zoo", GOOD)
    assert as_interpretee("zoo:tiny", Preprocess(24)).preprocess == Preprocess(24)
    assert as_interpretee("zoo:tiny").preprocess != Preprocess(24)


def test_a_model_loaded_by_name_moves_to_the_device_and_a_live_one_stays(install, monkeypatch):
    install("zoo", GOOD)
    mine = load_model("zoo:tiny")
    monkeypatch.setattr("invkit.utils.distributed.device", lambda: torch.device("meta"))  # stands in for a GPU
    assert {p.device.type for p in as_interpretee("zoo:tiny").module.parameters()} == {"meta"}
    assert {p.device.type for p in as_interpretee(mine).module.parameters()} == {"cpu"}
    preprocess = nn.BatchNorm2d(3)
    assert as_interpretee("zoo:tiny", preprocess).preprocess.running_mean.device.type == "meta"


def test_a_module_of_unknown_normalisation_gets_a_precise_warning():
    with pytest.warns(InvkitWarning, match=r"Conv2d.*preprocess=invkit\.Preprocess"):
        as_interpretee(nn.Conv2d(3, 4, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_interpretee(nn.Conv2d(3, 4, 3), Preprocess())
        invkit.layers(nn.Conv2d(3, 4, 3))


def test_a_third_party_needs_fifteen_lines_and_its_model_goes_through_explain(install, digits, tiny):
    assert len([line for line in GOOD.splitlines() if line.strip()]) <= 15
    install("zoo", GOOD)
    found = invkit.explain("zoo:tiny", "output", digits, settings=tiny)
    assert found.held_out.z.shape[1:] == (4, 14, 14)


def test_built_in_blocks_and_embedders_enter_by_the_same_hooks():
    for kind in ("flow_block", "embedder"):
        assert list_names(kind, "invkit")["invkit"] == call("invkit", f"list_{kind}s")
    assert build_flow_block("affine", 6, 2).config["dim"] == 6
    assert build_flow_block("invkit:tarflow", (2, 2, 2)).config["shape"] == [2, 2, 2]
    assert build_embedder("paper", (5,), 3).config["shape"] == [5]


SHADOW = f"""{HOOK}def list_flow_blocks(): return ["affine", "mine"]
@hookimpl
def build_flow_block(name, dim, width):
    from invkit.flows import AffineCoupling
    return AffineCoupling(dim, 0, width) if name in list_flow_blocks() else None
@hookimpl
def list_embedders(): return ["mine"]
@hookimpl
def build_embedder(name, shape, dim):
    from invkit.flows import VectorEmbedder
    return VectorEmbedder(shape, dim, 7) if name == "mine" else None
"""


def test_a_bare_built_in_name_is_the_built_in_and_imports_no_other_plugin(install):
    module = install("zoo", SHADOW)
    assert FlowSettings(n_flow=1, width=8).blocks(4, 3)[1].config["condition_dim"] == 3
    assert module not in sys.modules
    assert FlowSettings(n_flow=1, width=8, coupling="zoo:affine").blocks(4, 3)[1].config["condition_dim"] == 0


def test_blocks_and_embedders_of_a_plugin_serve_in_settings_and_get_the_arguments_that_they_take(install):
    install("zoo", SHADOW)
    settings = FlowSettings(n_flow=1, width=9, coupling="mine", mixing="zoo:mine", embedder="mine")
    assert [block.config.get("width") for block in settings.blocks(4, 3)] == [None, 9, 9]
    assert settings.build_embedder((5, 2), 4).config == {"shape": [5, 2], "condition_dim": 4, "width": 7}
    with pytest.raises(SettingsError, match="not for codes that are maps"):
        settings.blocks((2, 2, 2))
    with pytest.raises(PluginError, match=r"No embedder 'men'.*zoo:mine"):
        replace(settings, embedder="men").build_embedder((5,), 4)


def test_no_other_package_can_take_the_prefix_of_invkit(install):
    install("invkit", "raise RuntimeError")
    assert build_flow_block("invkit:affine", 4).dim == 4
    assert info("invkit").module == "invkit.plugins.builtin"


def test_asking_for_plugins_imports_neither_torch_nor_a_plugin():
    script = (
        "import sys; from click.testing import CliRunner; from invkit.cli import main\n"
        "for words in (['--help'], ['plugins', 'list'], ['plugins', 'list', '--json'], ['models', '--help']):\n"
        "    assert CliRunner().invoke(main, words).exit_code == 0\n"
        "assert not {'torch', 'numpy', 'matplotlib', 'invkit.plugins.builtin', 'timm'} & set(sys.modules)\n"
        "assert not [name for name in sys.modules if name.startswith('invkit_')]\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)

"""The plugin keeps the contract of invkit."""

import invkit_lenet as plugin

from invkit.testing import check_interpretee


def test_every_model_passes_the_conformance_kit():
    for name in plugin.list_models():
        print(check_interpretee(plugin.load_model(name, weights="random", local_files_only=True)))


def test_an_unknown_name_is_nothing():
    assert plugin.load_model("no such model", weights=None, local_files_only=True) is None

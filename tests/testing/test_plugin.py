"""The check of a plugin finds, loads and checks all that it offers, and names what is wrong."""

import pytest

from invkit.testing import check_plugin

RIGHT = """
from invkit.plugins import hookimpl

INVKIT_API = 1

@hookimpl
def list_models():
    return ["tiny", "other"]

@hookimpl
def load_model(name, weights, local_files_only):
    from torch import nn
    from invkit.interpretees import ModuleInterpretee, Preprocess
    if name not in list_models():
        return None
    if name == "other":
        raise ValueError("other is broken")
    assert weights == "random" and local_files_only
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return ModuleInterpretee(network, Preprocess(8))

@hookimpl
def list_flow_blocks():
    return ["norm"]

@hookimpl
def build_flow_block(name, dim, condition_dim):
    from invkit.flows import ActNorm
    return ActNorm(dim) if name == "norm" else None

@hookimpl
def list_embedders():
    return ["flat"]

@hookimpl
def build_embedder(name, shape, dim):
    from invkit.errors import LayerError
    from invkit.flows import VectorEmbedder
    if name != "flat":
        return None
    if len(shape) > 2:
        raise LayerError("Maps are not for this embedder")
    return VectorEmbedder(shape, dim, 8)

@hookimpl
def list_autoencoders():
    return ["small"]

@hookimpl
def load_autoencoder(name, weights, local_files_only):
    from invkit.autoencoders import ConvAutoencoder
    if name == "small" and weights != "random":
        raise FileNotFoundError(weights)
    return ConvAutoencoder(28, 4, 4) if name == "small" else None

@hookimpl
def list_datasets():
    return ["pairs", "absent"]

@hookimpl
def load_dataset(name):
    import torch
    from invkit.errors import DataError
    if name == "absent":
        raise DataError("The folder is not there")
    return [(torch.rand(3, 30, 30), k) for k in range(9)] if name == "pairs" else None
"""


def check(install, code, **options):
    install("zoo", code)
    report = check_plugin("zoo", **options, raise_on_failure=False)
    return {r.name: (r.outcome, r.message) for r in report.results}


def test_a_correct_plugin_passes_and_everything_that_it_offers_is_checked(install):
    install("zoo", RIGHT)
    report = check_plugin("zoo")
    outcomes = {r.name: r.outcome for r in report.results}
    assert outcomes["it_loads"] == "passed"
    for name in (
        "model tiny: it_is_deterministic",
        "autoencoder small: decoding_gives_images",
        "model tiny: unknown_weights_are_an_error",
        "autoencoder small: unknown_weights_are_an_error",
        "flow_block norm: inverse_undoes_forward",
        "embedder flat: config_and_state_restore_it",
        "dataset pairs: its_images_can_be_read",
    ):
        assert outcomes[name] == "passed"
    assert outcomes["dataset absent: it_can_be_loaded"] == "skipped"
    assert not any(name.startswith("model other") for name in outcomes)
    assert report.results[1].message == "2 models, 1 autoencoders, 1 flow blocks, 1 embedders, 2 datasets"


def test_the_models_to_check_can_be_chosen(install):
    found = check(install, RIGHT, models=["other"])
    assert found["model other: it_can_be_loaded"][0] == "failed"
    assert "other is broken" in found["model other: it_can_be_loaded"][1]
    assert not any(name.startswith("model tiny") for name in found)


def test_an_expected_failure_has_the_name_of_its_model(install):
    reasons = {"model other: it_can_be_loaded": "needs its library"}
    assert check(install, RIGHT, models=["other"], expected_failures=reasons)["model other: it_can_be_loaded"] == (
        "expected",
        "needs its library (PluginError: The plugin 'zoo' of invkit-0 1.2.3 failed in `load_model`. "
        "Got: ValueError: other is broken. Update it, or `pip uninstall invkit-0`; all else works without it.)",
    )


CLAIMS_ALL = """
@hookimpl
def claim_model(module):
    return module
"""
WRONG = [
    ("INVKIT_API = 1", "INVKIT_API = 99", "it_loads", "INVKIT_API = 1"),
    ("def list_autoencoders", "def list_autoencoder", "it_loads", "list_autoencoder"),
    ("import hookimpl", "import hookimpl\nimport no_such_library", "it_loads", "no_such_library"),
    ('return ["norm"]', "return [1]", "it_lists_names", "list_flow_blocks() returns an element that is not a name"),
    ('return ["norm"]', 'return "norm"', "it_lists_names", "returns one string instead of several"),
    ('return ["norm"]', 'return ["norm", "norm"]', "it_lists_names", "returns a name twice"),
    ('return ["norm"]', "import random; return [str(random.random())]", "it_lists_names", "two calls"),
    ('if name == "norm" else None', "", "an_unknown_name_is_none", "returns ActNorm"),
    ("if name not in list_models():", "if list_models().index(name) < 0:", "an_unknown_name_is_none", "ValueError"),
    ("API = 1", f"API = 1\n{CLAIMS_ALL}", "it_claims_no_foreign_module", "it claims a module"),
    ('return ["norm"]', 'return ["norm", "gone"]', "flow_block gone: it_can_be_loaded", "No flow block 'zoo:gone'"),
    ("return ActNorm(dim)", "return 7", "flow_block norm: it_can_be_loaded", "returned another type"),
    ("return ActNorm(dim)", "return ActNorm(dim + 1)", "flow_block norm: it_maps_rows_to_rows", "must match"),
    ("assert weights", "# assert weights", "model tiny: unknown_weights_are_an_error", "ignore `weights`"),
    ("raise FileNotFoundError(weights)", "pass", "autoencoder small: unknown_weights_are_an_error", "`weights`"),
    ("(shape, dim, 8)", "(shape, dim + 1, 8)", "embedder flat: it_embeds_rows", "(5, 5), not (5, 4)"),
    ("LayerError(", "ValueError(", "embedder flat: it_can_be_loaded", "ValueError"),
    ("Preprocess(8)", "lambda x: x", "model tiny: the_fingerprint_is_the_same_in_every_process", "repr"),
    ("encoder(28, 4, 4)", "encoder(28, 4, 4).half()", "autoencoder small: decoding_gives_images", "dtype"),
    ("torch.rand(3, 30, 30)", "torch.rand(3, 30, 30) / 0", "dataset pairs: its_images_can_be_read", "NaN or infinity"),
]  # fmt: skip


@pytest.mark.parametrize(("right", "wrong", "name", "message"), WRONG)
def test_each_error_fails_its_check(install, right, wrong, name, message):
    assert right in RIGHT
    found = check(install, RIGHT.replace(right, wrong))
    assert found[name][0] == "failed"
    assert message in found[name][1]


def test_an_unknown_prefix_fails_the_first_check():
    with pytest.raises(AssertionError, match="No plugin 'zzz'"):
        check_plugin("zzz")


@pytest.mark.slow
@pytest.mark.long
def test_the_built_in_plugin_passes():
    report = check_plugin("invkit")
    assert sum(r.outcome == "passed" for r in report.results) > 70

"""What an explanation will cost: all parts are told, and what grows with the images grows."""

import json

import pytest
import torch
from click.testing import CliRunner

import invkit
from invkit.cli import main
from invkit.forecast import forecast
from invkit.interpretees import ModuleInterpretee


@pytest.fixture
def told(digits, network, tiny):
    interpretee = ModuleInterpretee(network)
    return forecast(digits, [(interpretee, ["2", "4"])], settings=tiny)


def test_every_part_is_told(told, tiny):
    assert list(told.costs) == ["autoencoder", "codes", "z̄ alone", "e", "representations", "t", "figures"]
    assert all(cost.seconds(told.images) > 0 for cost in told.costs.values())
    assert told.costs["t"].steps == 2 * tiny.fit_t.steps
    assert told.bytes_per_image == 4 * (2 * 12 + 16 + 5)
    assert told.costs["codes"].pace.endswith("images/s")
    assert told.costs["e"].pace.endswith("steps/s")


def test_passes_over_the_data_grow_with_it_and_training_does_not(told):
    for name, cost in told.costs.items():
        growth = cost.seconds(1_000_000) - cost.seconds(1000)
        assert (growth > 0) == (name in ("codes", "representations", "figures")), name
    assert told.seconds(1_000_000) > told.seconds(1000) > 0


def test_random_state_and_the_model_are_left_as_found(digits, network, tiny):
    network.train()
    state = torch.get_rng_state()
    forecast(digits, [(ModuleInterpretee(network), ["2"])], settings=tiny)
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training


@pytest.mark.filterwarnings("ignore:Nobody said")
def test_it_is_told_before_the_work_but_not_when_the_cache_has_a_part_of_it(digits, network, tiny, tmp_path, capsys):
    for expected in (True, False):
        invkit.explain(network, "2", digits, settings=tiny, cache=tmp_path)
        told = [line for line in capsys.readouterr().err.splitlines() if "will take about" in line]
        assert bool(told) == expected


@pytest.mark.filterwarnings("ignore:Nobody said")
def test_the_command_line_tells_of_any_number_of_images(tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Flatten())\n"
    )
    model = f"{tmp_path / 'net.py'}:build"
    command = ["bench", model, "0", "--size", "28", "--preset", "quick", "--images", "5000", "--json"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert list(found["seconds"]) == ["1000", "5000", "10000", "100000"]
    assert found["parts"]["autoencoder"]["steps"] == 400

"""What an explanation will cost: all parts are told, and what grows with the images grows."""

import json
from collections import namedtuple
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from torch import nn

import invkit
from invkit import forecast as forecast_module
from invkit.autoencoders import ConvAutoencoder
from invkit.cli import main
from invkit.data import ImageSet, as_concept, room
from invkit.errors import ArtefactError
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


def test_a_large_layer_is_tried_on_fewer_images_but_on_a_whole_batch(digits, network, tiny, monkeypatch):
    drawn, known = [], forecast_module._drawn
    monkeypatch.setattr(forecast_module, "_drawn", lambda *shape: drawn.append(shape) or known(*shape))
    for at_once, batch, expected in ((2**28, 32, (255, 45)), (4 * 16 * 40, 32, (64, 45)), (4, 100, (100, 45))):
        monkeypatch.setattr(room, "_AT_ONCE", at_once)
        settings = replace(tiny, fit_t=replace(tiny.fit_t, batch_size=batch))
        drawn.clear()
        told = forecast(digits, [(ModuleInterpretee(network), ["2"])], settings=settings)
        assert [shape for shape in drawn if shape[1:] == (4, 2, 2)] == [(rows, 4, 2, 2) for rows in expected]
        assert told.costs["t"].fixed > 0


@pytest.mark.filterwarnings("ignore:Nobody said")
@pytest.mark.parametrize("given", [False, True])
def test_it_is_told_before_the_work_but_not_when_the_cache_has_a_part_of_it(
    digits, network, tiny, tmp_path, capsys, given
):
    autoencoder = ConvAutoencoder(28, 12, 8) if given else None
    others = digits.take(torch.arange(299))
    for data, expected in ((digits, True), (digits, False), (others, True), (others, False)):
        invkit.explain(network, "2", data, settings=tiny, cache=tmp_path, autoencoder=autoencoder)
        told = [line for line in capsys.readouterr().err.splitlines() if "will take about" in line]
        assert bool(told) == expected


@pytest.mark.filterwarnings("ignore:Nobody said")
def test_room_is_looked_for_whatever_else_the_cache_holds(digits, network, tiny, tmp_path, monkeypatch):
    (tmp_path / "t-0123456789abcdef.safetensors").write_text("of something else")
    monkeypatch.setattr("shutil.disk_usage", lambda _: namedtuple("usage", "free")(300 * 16 * 4 - 1))
    monkeypatch.setattr("invkit.preparation.lay_groundwork", lambda *_, **__: pytest.fail("training began"))
    with pytest.raises(ArtefactError, match="Too little room"):
        invkit.explain(network, "2", digits, settings=tiny, cache=tmp_path, progress=False)


@pytest.fixture
def model(tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Flatten())\n"
    )
    return f"{tmp_path / 'net.py'}:build"


@pytest.mark.filterwarnings("ignore:Nobody said")
@pytest.mark.parametrize("classes", [0, 7])
def test_the_command_line_tells_what_explain_does(model, classes, monkeypatch):
    def once(work, times=2):
        work()
        return 0.5  # so that times can be compared

    monkeypatch.setattr(forecast_module, "_seconds", once)
    monkeypatch.setattr(forecast_module, "seconds_of_fit", lambda task, how: float(how.steps))
    command = ["bench", model, "0", "--size", "36", "--images", "2048", "--classes", str(classes), "--json"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    labels = {"class": as_concept("class", torch.arange(2048) % classes)} if classes else {}
    images = ImageSet(torch.randint(256, (2048, 3, 36, 36), dtype=torch.uint8), labels)
    conv = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Flatten())
    expected = forecast(images, [(ModuleInterpretee(conv), ["0"])])
    assert found["seconds"]["2048"] == pytest.approx(expected.seconds())
    assert found["images with copies"]["2048"] == expected.images == 8 * 1741 + 307
    assert found["bytes per image"] == expected.bytes_per_image
    assert set(found["parts"]) == set(expected.costs)
    assert found["images with copies"]["100000"] == 100_000


@pytest.mark.filterwarnings("ignore:Nobody said")
def test_the_command_line_tells_of_any_number_of_images(model):
    command = ["bench", model, "0", "--size", "28", "--preset", "quick", "--images", "5000", "--json"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert list(found["seconds"]) == ["1000", "5000", "10000", "100000"]
    assert found["parts"]["autoencoder"]["steps"] == 400

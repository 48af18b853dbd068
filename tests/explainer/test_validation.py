"""Before any work: what cannot be done is told at once, without the time that a forecast takes."""

import pytest
import torch

import invkit
from invkit.data import ImageSet, as_concept
from invkit.errors import DataError, SettingsError

pytestmark = pytest.mark.filterwarnings("ignore:Nobody said")


def quantities(n, rows):
    return {f"q{k}": as_concept("q", torch.rand(rows)) for k in range(n)}


@pytest.mark.parametrize(
    ("rows", "concepts", "options", "error", "words"),
    [
        (10, 0, {}, DataError, "Too few images"),
        (100, 12, {}, SettingsError, "Give fewer concepts"),
        (100, 2, {"factor_sizes": {"q0": 12}}, SettingsError, "Give smaller"),
        (100, 0, {"held_out": ImageSet(torch.rand(9, 3, 28, 28), quantities(1, 9))}, DataError, "other concepts"),
    ],
)
def test_what_the_data_do_not_allow_is_told_before_the_cost(
    network, tiny, rows, concepts, options, error, words, monkeypatch, capsys
):
    monkeypatch.setattr("invkit.explainer.preparation.forecast", lambda *_, **__: pytest.fail("parts were tried"))
    data = ImageSet(torch.rand(rows, 3, 28, 28), quantities(concepts, rows))
    with pytest.raises(error, match=words):
        invkit.explain(network, "2", data, settings=tiny, **options)
    assert "will take" not in capsys.readouterr().err


def test_of_more_concepts_than_fit_those_with_sizes_are_tried_and_trained(network, tiny, capsys):
    data = ImageSet(torch.rand(100, 3, 28, 28), quantities(12, 100))
    found = invkit.explain(network, "4", data, settings=tiny, factor_sizes={"q0": 1, "q7": 2})
    assert "will take" in capsys.readouterr().err
    assert found.e.factors == {"residual": 9, "q0": 1, "q7": 2}

"""Curves over depth, where the layers are known to keep less and less."""

import pytest

from invkit.errors import SettingsError
from invkit.studies import layers, over_seeds


def test_two_layers_or_more_are_asked_for(digits, network, tiny):
    with pytest.raises(SettingsError, match="two layers"):
        layers(network, "0", digits, settings=tiny, preprocess=lambda x: x)


def test_a_study_over_seeds_has_the_mean_and_its_standard_error(digits, network, tiny, tmp_path):
    def run(seed):
        wanted = ["0", "4"]
        return layers(network, wanted, digits, settings=tiny, preprocess=lambda x: x, seed=seed, progress=False)

    both = over_seeds(run, [0, 1])
    values = [run(seed).headline["last less first"].value for seed in (0, 1)]
    assert both.headline["last less first"].value == pytest.approx(sum(values) / 2)
    assert both.headline["last less first"].standard_error == pytest.approx(abs(values[0] - values[1]) / 2)
    assert both.figures["seed 1"]["headline"]["last less first"]["value"] == values[1]
    assert "Seed by seed" in both.to_html(tmp_path / "page.html").read_text()

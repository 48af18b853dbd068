"""Curves over depth, where the layers are known to keep less and less."""

import pytest
from torch import nn

from invkit.errors import SettingsError
from invkit.studies import layers, over_seeds


class Fewer(nn.Module):
    """Keeps the image, the colours of its quarters, its mean colour."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Identity(), nn.AdaptiveAvgPool2d(2), nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        return self.third(self.second(self.first(x))).flatten(1)


def test_two_layers_or_more_are_asked_for(digits, tiny):
    with pytest.raises(SettingsError, match="two layers"):
        layers(Fewer(), "first", digits, settings=tiny, preprocess=lambda x: x)


def test_a_study_over_seeds_has_the_mean_and_its_standard_error(digits, tiny, tmp_path):
    def run(seed):
        wanted = ["first", "third"]
        return layers(Fewer(), wanted, digits, settings=tiny, preprocess=lambda x: x, seed=seed, progress=False)

    both = over_seeds(run, [0, 1])
    values = [run(seed).headline["last less first"].value for seed in (0, 1)]
    assert both.headline["last less first"].value == pytest.approx(sum(values) / 2)
    assert both.headline["last less first"].standard_error == pytest.approx(abs(values[0] - values[1]) / 2)
    assert both.figures["seed 1"]["headline"]["last less first"]["value"] == values[1]
    assert "Seed by seed" in both.to_html(tmp_path / "page.html").read_text()


@pytest.mark.slow
def test_invariance_grows_where_each_layer_keeps_a_part_of_the_one_before(shared):
    study = layers(Fewer(), ["first", "second", "third"], **shared)
    assert study.holds
    assert study.headline["last less first"].value > 0.1

"""Shares of variance against closed forms; standard errors against repetition."""

import pytest
import torch

from invkit.evaluation import Estimate, within_share
from invkit.evaluation.estimate import jackknife


def draw(m, n, within, between, generator):
    centres = between**0.5 * torch.randn(m, 1, 3, generator=generator)
    return centres + within**0.5 * torch.randn(m, n, 3, generator=generator)


@pytest.mark.parametrize(("within", "between"), [(1.0, 0.0), (0.2, 0.8), (0.0, 1.0), (3.0, 1.0)])
def test_within_share_is_unbiased(within, between):
    generator = torch.Generator().manual_seed(0)
    runs = torch.tensor([within_share(draw(60, 5, within, between, generator)).value for _ in range(200)])
    assert float(runs.mean()) == pytest.approx(within / (within + between), abs=0.01)


def test_its_standard_error_is_the_spread_over_repetitions():
    generator = torch.Generator().manual_seed(0)
    runs = [within_share(draw(80, 6, 0.4, 0.6, generator)) for _ in range(300)]
    spread = torch.tensor([r.value for r in runs]).std()
    claimed = torch.tensor([r.standard_error for r in runs]).mean()
    assert float(claimed / spread) == pytest.approx(1, abs=0.15)


def test_the_jackknife_of_a_mean_is_the_usual_standard_error():
    x = torch.randn(50, 1, dtype=torch.float64)
    found = jackknife(lambda m: m[..., 0], x, 50)
    assert found.standard_error == pytest.approx(float(x.std() / 50**0.5))


def test_estimates_subtract_with_their_errors():
    difference = Estimate(0.5, 0.03, 10) - Estimate(0.2, 0.04, 5)
    assert (difference.value, difference.standard_error) == (pytest.approx(0.3), pytest.approx(0.05))
    assert str(difference) == "0.300 ± 0.050"

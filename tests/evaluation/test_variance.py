"""Shares of variance against closed forms; standard errors against repetition."""

from typing import ClassVar

import pytest
import torch

from invkit.core import Estimate, Transformed
from invkit.errors import DataError
from invkit.evaluation import concept_shares, determined_shares, invariance, invariance_rise, within_share
from invkit.evaluation.estimate import jackknife


def draw(m, n, within, between, generator):
    centres = between**0.5 * torch.randn(m, 1, 3, generator=generator)
    return centres + within**0.5 * torch.randn(m, n, 3, generator=generator)


@pytest.mark.parametrize(("within", "between"), [(1.0, 0.0), (0.2, 0.8), (0.0, 1.0), (3.0, 1.0)])
def test_within_share_is_unbiased(within, between):
    generator = torch.Generator().manual_seed(0)
    runs = torch.tensor([within_share(draw(60, 5, within, between, generator)).value for _ in range(200)])
    assert float(runs.mean()) == pytest.approx(within / (within + between), abs=0.01)


def test_standard_error_equals_the_spread_over_repetitions():
    generator = torch.Generator().manual_seed(0)
    runs = [within_share(draw(80, 6, 0.4, 0.6, generator)) for _ in range(300)]
    spread = torch.tensor([r.value for r in runs]).std()
    claimed = torch.tensor([r.standard_error for r in runs]).mean()
    assert float(claimed / spread) == pytest.approx(1, abs=0.15)


def test_the_jackknife_of_a_mean_is_the_usual_standard_error():
    x = torch.randn(50, 1, dtype=torch.float64)
    found = jackknife(lambda m: m[..., 0], x, 50)
    assert found.standard_error == pytest.approx(float(x.std() / 50**0.5))


def test_copies_in_one_group_do_not_reduce_the_standard_error():
    x, names = torch.randn(50, 1, dtype=torch.float64), torch.arange(50)
    alone = jackknife(lambda m: m[..., 0], x, 50)
    copied = jackknife(lambda m: m[..., 0], x.repeat(4, 1), 200, names.repeat(4))
    assert copied.standard_error == pytest.approx(alone.standard_error)
    assert copied.value == pytest.approx(alone.value)
    blind = jackknife(lambda m: m[..., 0], x.repeat(4, 1), 200)
    assert blind.standard_error == pytest.approx(alone.standard_error / 2, rel=0.02)


def test_estimates_subtract_with_their_errors():
    difference = Estimate(0.5, 0.03, 10) - Estimate(0.2, 0.04, 5)
    assert (difference.value, difference.standard_error) == (pytest.approx(0.3), pytest.approx(0.05))
    assert str(difference) == "0.300 ± 0.050"


class Written:
    """t and e in closed form: z̄ = (z, z·v, v) for a sign z; each a factor."""

    dim = 3
    slices: ClassVar = {"alone": slice(0, 1), "together": slice(1, 2), "not": slice(2, 3)}

    def perceive(self, z, generator):
        return z

    condition = perceive

    def inverse_given(self, v, z):
        return torch.cat([z, z * v[:, :1], v[:, :1]], 1)

    def sample(self, z, n, generator):
        v = torch.randn(len(z) * n, 3, generator=generator)
        return self.inverse_given(v, z.repeat_interleave(n, 0)).unflatten(0, (len(z), n))

    def __call__(self, latents):
        return Transformed(latents, latents.new_zeros(len(latents)))


def test_interaction_of_z_and_v_is_explained_but_not_determined():
    written, z = Written(), torch.tensor([[-1.0], [1.0]]).repeat(500, 1)
    explained, determined = (f(written, written, z) for f in (concept_shares, determined_shares))
    for name, expected, strict in [("alone", 1, 1), ("together", 1, 0), ("not", 0, 0)]:
        assert explained[name].value == pytest.approx(expected, abs=0.05), name
        assert determined[name].value == pytest.approx(strict, abs=0.05), name
    assert invariance(written, z).value == pytest.approx(2 / 3, abs=0.02)


class FewImages(Written):
    """z̄ = z + v in one factor."""

    slices: ClassVar = {"sum": slice(0, 1)}

    def inverse_given(self, v, z):
        return z + v[:, :1]

    def __call__(self, codes):
        return Transformed(codes, torch.zeros(len(codes)))


def test_standard_error_of_eq_20_includes_the_choice_of_images():
    generator, both = torch.Generator().manual_seed(0), FewImages()
    runs = [
        concept_shares(both, both, torch.randn(60, 1, generator=generator), n=4000, seed=k)["sum"] for k in range(150)
    ]
    spread = torch.tensor([run.value for run in runs]).std()
    claimed = torch.tensor([run.standard_error for run in runs]).mean()
    assert float(claimed / spread) == pytest.approx(1, abs=0.25)


def test_invariance_rise_error_accounts_for_common_images():
    generator, both, rises, apart = torch.Generator().manual_seed(0), FewImages(), [], []
    for k in range(150):
        z = 2 * torch.randn(60, 1, generator=generator)
        layers = (both, z), (both, 0.9 * z)
        rises.append(invariance_rise(*layers, n=4000, seed=k))
        before, after = (invariance(t, of, n=4000, seed=k) for t, of in layers)
        assert rises[-1].value == pytest.approx((after - before).value, abs=1e-9)
        apart.append((after - before).standard_error)
    values, claimed = (torch.tensor([getattr(rise, name) for rise in rises]) for name in ("value", "standard_error"))
    assert float(values.mean()) == pytest.approx(1 / (1 + 0.9**2 * 4) - 1 / 5, abs=0.003)
    assert float(claimed.mean() / values.std()) == pytest.approx(1, abs=0.25)
    assert sum(apart) / len(apart) > 3 * float(claimed.mean())


def test_invariance_rise_needs_the_same_images():
    both, z = FewImages(), torch.randn(700, 1)
    with pytest.raises(DataError, match=r"the same images.*600 of both.*700"):
        invariance_rise((both, z[:600]), (both, z))


def test_invariance_rise_leaves_out_whole_groups():
    both, z = FewImages(), torch.randn(40, 1)
    copies, groups = z.repeat(4, 1), torch.arange(40).repeat(4)
    lone, grouped = (invariance_rise((both, copies), (both, 0.5 * copies), groups=g, n=4000) for g in (None, groups))
    assert lone.value == pytest.approx(grouped.value)
    assert grouped.standard_error > 1.5 * lone.standard_error

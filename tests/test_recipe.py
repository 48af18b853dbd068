"""explain and profile: the whole recipe at tiny settings, its errors, its cache."""

import json

import pytest
import torch
from torch import nn

import invkit
from invkit.errors import ArtefactError, DataError, LayerError, SettingsError

pytestmark = pytest.mark.filterwarnings("ignore:Nobody said")  # how a plain module's images are normalised


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)
    )


@pytest.fixture(scope="module")
def explanation(model, digits, tiny):
    return invkit.explain(model, "2", digits, settings=tiny, progress=False)


def test_an_explanation_gives_pictures_of_the_documented_shapes(explanation, digits):
    x = digits.images(slice(3))
    for result, shape in [
        (explanation.sample(x, 4), (3, 4, 3, 28, 28)),
        (explanation.reconstruct(x), (3, 3, 28, 28)),
        (explanation.modify(x, digit=x[:1], background=x), (3, 3, 28, 28)),
        (explanation.interpolate(x, x.flip(0), 5), (3, 5, 3, 28, 28)),
        (explanation.interpolate(x, x[:1], 5, concept="digit"), (3, 5, 3, 28, 28)),
        (explanation.sample(torch.rand(2, 3, 50, 50), 1), (2, 1, 3, 28, 28)),
    ]:
        assert result.shape == shape
        assert result.min() >= 0
        assert result.max() <= 1


def test_the_ends_of_an_interpolation_are_the_reconstructions(explanation, digits):
    x = digits.images(slice(4))
    path = explanation.interpolate(x[:2], x[2:], 3)
    torch.testing.assert_close(path[:, 0], explanation.reconstruct(x[:2]), atol=1e-3, rtol=0)
    torch.testing.assert_close(path[:, -1], explanation.reconstruct(x[2:]), atol=1e-3, rtol=0)


def test_figures_are_complete_and_json(explanation):
    figures = json.loads(json.dumps(explanation.figures))
    assert {"nll", "nll_prior", "information", "psnr", "probe", "invariance", "concepts"} <= set(figures)
    assert set(figures["concepts"]) == set(figures["determined"]) == {"residual", "digit", "foreground", "background"}
    assert explanation.nll == figures["nll"]
    assert explanation.invariance().n >= 1000
    assert explanation.protocol["settings"]["noise_floor"] == 0.003


def test_it_shows_itself_in_a_notebook_and_as_one_file(explanation, tmp_path):
    assert "data:image/png;base64" in explanation._repr_html_()
    page = explanation.to_html(tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64") >= 4
    assert "noise floor" in page
    for outside in ("http://", "https://", "<script", "<link"):
        assert outside not in page


def test_saved_and_loaded_it_is_the_same(explanation, model, digits, tmp_path):
    folder = explanation.save(tmp_path / "saved")
    assert sorted(p.suffix for p in folder.iterdir()) == [".json", ".safetensors", ".safetensors"]
    loaded = invkit.Explanation.load(folder, model)
    x = digits.images(slice(2))
    assert torch.equal(loaded.sample(x, 3), explanation.sample(x, 3))
    assert torch.equal(loaded.modify(x, digit=x.flip(0)), explanation.modify(x, digit=x.flip(0)))
    assert loaded.invariance(n=200, seed=1) == explanation.invariance(n=200, seed=1)
    assert loaded.concepts() == explanation.concepts()
    assert loaded.determined() == explanation.determined()


def test_without_its_model_it_still_samples_for_held_out_images(explanation, digits, tmp_path):
    loaded = invkit.Explanation.load(explanation.save(tmp_path / "saved"))
    assert loaded.sample_from(loaded.held_out.z[:2], 3).shape == (2, 3, 3, 28, 28)
    with pytest.raises(ArtefactError, match="without its model"):
        loaded.sample(digits.images(slice(1)))


def damage_manifest(folder):
    (folder / "manifest.json").write_text('{"format": 99}')


def truncate_weights(folder):
    file = folder / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def swap_files(folder):
    file = folder / "weights.safetensors"
    file.write_bytes((folder / "held_out.safetensors").read_bytes())


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_manifest, "format 1"),
        (truncate_weights, "damaged or truncated"),
        (swap_files, "does not belong"),
        (lambda folder: (folder / "manifest.json").unlink(), "no such file"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "truncated"),
    ],
)
def test_a_damaged_folder_is_refused(explanation, tmp_path, damage, words):
    folder = explanation.save(tmp_path / "saved")
    damage(folder)
    with pytest.raises(ArtefactError, match=words):
        invkit.Explanation.load(folder)


def test_another_model_is_refused(explanation, model, tmp_path):
    folder = explanation.save(tmp_path / "saved")
    other = nn.Sequential(*[nn.Conv2d(3, 4, 3, 2), *list(model)[1:]])
    nn.init.zeros_(other[0].bias)
    with pytest.raises(ArtefactError, match="another model"):
        invkit.Explanation.load(folder, other)


def test_the_cache_gives_the_same_without_training(model, digits, tiny, tmp_path, monkeypatch):
    options = {"settings": tiny, "cache": tmp_path, "progress": False}
    first = invkit.explain(model, "4", digits, **options)
    monkeypatch.setattr("invkit.training.artefacts.fit", None)  # training would fail now
    again = invkit.explain(model, "4", digits, **options)
    assert again.figures == first.figures
    x = digits.images(slice(2))
    assert torch.equal(again.sample(x, 2), first.sample(x, 2))


def test_the_same_seed_gives_the_same_and_another_does_not(model, digits, tiny, explanation):
    again, other = (invkit.explain(model, "2", digits, settings=tiny, seed=s, progress=False) for s in (0, 1))
    assert again.figures == explanation.figures
    assert other.figures != explanation.figures


@pytest.mark.parametrize(
    ("layer", "words"),
    [("7", "No layer '7'"), ("4[3]@1", "No layer"), ("zz*", "No layer"), ("2@1", "never fires")],
)
def test_a_bad_layer_is_told_before_any_training(model, digits, layer, words, monkeypatch):
    monkeypatch.setattr("invkit.recipe.lay_groundwork", None)
    with pytest.raises(LayerError, match=words):
        invkit.explain(model, layer, digits, progress=False)


def test_a_glob_of_several_layers_is_for_profile(model, digits):
    with pytest.raises(LayerError, match=r"several layers.*invkit\.profile"):
        invkit.explain(model, "*", digits, progress=False)


def test_a_model_that_takes_one_size_only_is_checked_at_that_size(tiny):
    fixed = nn.Sequential(nn.Flatten(), nn.Linear(3 * 30 * 30, 5))
    found = invkit.explain(fixed, "1", torch.rand(90, 3, 30, 30), settings=tiny, progress=False)
    assert found.held_out.z.shape[1:] == (5,)


def test_held_out_images_need_the_same_concepts(model, digits, tiny):
    options = {"settings": tiny, "progress": False}
    with pytest.raises(DataError, match="other concepts"):
        invkit.explain(model, "2", digits, held_out=torch.rand(5, 3, 28, 28), **options)


def test_too_few_images_are_told_with_the_number_needed(model, tiny):
    with pytest.raises(DataError, match=r"at least 64 to train on.*Got: 17 and 3"):
        invkit.explain(model, "2", torch.rand(20, 3, 28, 28), settings=tiny, progress=False)


def test_a_representation_that_is_not_finite_is_told(digits, tiny):
    class Poison(nn.Module):
        def forward(self, x):
            return (x.mean((2, 3)) - 0.4).log()

    model = nn.Sequential(Poison())
    with pytest.raises(LayerError, match=r"not finite for \d+ of"):
        invkit.explain(model, "0", digits, settings=tiny, progress=False)


def test_images_without_concepts_are_explained_too(model, tiny):
    found = invkit.explain(model, model[2], torch.rand(90, 3, 32, 32), settings=tiny, progress=False)
    assert found.concepts() == {}
    assert found.interpolate(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32), 3).shape == (1, 3, 3, 32, 32)
    with pytest.raises(SettingsError, match="No concept 'digit'"):
        found.modify(torch.rand(1, 3, 32, 32), digit=torch.rand(1, 3, 32, 32))


def test_given_factor_sizes_are_used_and_checked(model, digits, tiny):
    sizes = {"digit": 2, "background": 4}
    found = invkit.explain(model, "2", digits, settings=tiny, factor_sizes=sizes, progress=False)
    assert found.e.factors == {"residual": 6, "digit": 2, "background": 4}
    with pytest.raises(SettingsError):
        invkit.explain(model, "2", digits, settings=tiny, factor_sizes={"digit": 40}, progress=False)
    with pytest.raises(SettingsError, match="No labels for age"):
        invkit.explain(model, "2", digits, settings=tiny, factor_sizes={"age": 2}, progress=False)


def test_a_profile_of_layers_and_of_checkpoints(model, digits, tiny, tmp_path):
    over_layers = invkit.profile(model, ["0", "2", "4"], digits, settings=tiny, progress=False)
    assert list(over_layers.explanations) == ["0", "2", "4"]
    other = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5))
    over_training = invkit.profile({"0": other, "10": model}, "2", digits, settings=tiny, progress=False)
    assert list(over_training.explanations) == ["0", "10"]
    for profile in (over_layers, over_training):
        assert json.dumps(profile.to_dict())
        assert profile.to_html(tmp_path / "p.html").stat().st_size > 10_000
        assert len({e.autoencoder for e in profile.explanations.values()}) == 1
    one = invkit.explain(model, "2", digits, settings=tiny, progress=False)
    assert over_layers["2"].figures == one.figures  # sharing a pass changes nothing


def test_each_representation_is_computed_once(model, digits, tiny):
    seen = []
    handle = model[0].register_forward_hook(lambda _m, x, _o: seen.append(len(x[0])))
    invkit.profile(model, ["0", "2", "4"], digits, settings=tiny, progress=False)
    handle.remove()
    assert sum(seen) == len(digits) + 2  # and one check on two grey images

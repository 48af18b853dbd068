"""explain and profile: the whole recipe at tiny settings, its errors, its cache."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from torch import nn

import invkit
from invkit.core import Posterior
from invkit.data import as_image_set
from invkit.errors import ArtefactError, DataError, LayerError, SettingsError
from invkit.explanation import fidelity
from invkit.flows import VectorEmbedder
from invkit.testing import check_autoencoder
from invkit.training import loop
from invkit.utils import resources as room

pytestmark = pytest.mark.filterwarnings("ignore:Unknown preprocessing")  # how a plain module's images are normalised


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)
    )


@pytest.fixture(scope="module")
def explanation(model, digits, tiny):
    return invkit.explain(model, "2", digits, settings=tiny)


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


def test_images_of_another_form_are_squared_as_the_data_were(explanation):
    wide = torch.zeros(1, 3, 56, 112)
    wide[..., 28:84] = torch.rand(1, 3, 56, 56)
    square = as_image_set(wide, size=28).images()
    for shown in (explanation.represent, explanation.reconstruct):
        torch.testing.assert_close(shown(wide[0]), shown(square), rtol=0, atol=4 / 255)  # data are bytes


def test_the_ends_of_an_interpolation_are_the_reconstructions(explanation, digits):
    x = digits.images(slice(4))
    path = explanation.interpolate(x[:2], x[2:], 3)
    torch.testing.assert_close(path[:, 0], explanation.reconstruct(x[:2]), atol=1e-3, rtol=0)
    torch.testing.assert_close(path[:, -1], explanation.reconstruct(x[2:]), atol=1e-3, rtol=0)


def test_metrics_are_complete_and_json(explanation):
    metrics = json.loads(json.dumps(explanation.metrics))
    assert {"nll", "nll_prior", "information", "psnr", "probe", "invariance", "concepts"} <= set(metrics)
    assert set(metrics["concepts"]) == set(metrics["determined"]) == {"residual", "digit", "foreground", "background"}
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


def test_metrics_are_drawn_with_the_seed_that_all_was_trained_with(model, digits, tiny, tmp_path):
    found = invkit.explain(model, "2", digits, settings=tiny, seed=7)
    assert found.seed == 7
    for kind in ("invariance", "concepts", "determined"):
        figure = getattr(found, kind)
        assert figure() == figure(seed=7) != figure(seed=0)
    assert found.fidelity().metrics == found.fidelity(seed=7).metrics != found.fidelity(seed=0).metrics
    loaded = invkit.Explanation.load(found.save(tmp_path / "saved"))
    assert loaded.invariance(seed=7) == found.invariance()
    assert loaded.fidelity().metrics == found.fidelity().metrics


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


def change_a_figure(folder):
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["metrics"]["nll"] += 0.001
    file.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_manifest, r"Expected: format 4.*Got: 99"),
        (truncate_weights, "damaged or truncated"),
        (swap_files, "does not belong"),
        (lambda folder: (folder / "manifest.json").unlink(), "no such file"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "truncated"),
        (change_a_figure, "was changed"),
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
    options = {"settings": tiny, "cache": tmp_path}
    first = invkit.explain(model, "4", digits, **options)
    monkeypatch.setattr("invkit.training.loop._train", None)  # training would fail now
    again = invkit.explain(model, "4", digits, **options)
    assert again.metrics == first.metrics
    x = digits.images(slice(2))
    assert torch.equal(again.sample(x, 2), first.sample(x, 2))


def test_a_damaged_explanation_in_the_cache_is_made_again(model, digits, tiny, tmp_path, capsys):
    options = {"settings": tiny, "cache": tmp_path}
    first = invkit.explain(model, "4", digits, **options)
    truncate_weights(next(tmp_path.glob("explanation-*")))
    assert invkit.explain(model, "4", digits, **options).metrics == first.metrics
    assert "recomputed" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_and_another_does_not(model, digits, tiny, explanation):
    again, other = (invkit.explain(model, "2", digits, settings=tiny, seed=s) for s in (0, 1))
    assert again.metrics == explanation.metrics
    assert other.metrics != explanation.metrics


@pytest.mark.parametrize(
    ("layer", "words"),
    [("7", "No layer '7'"), ("4[3]@1", "No layer"), ("zz*", "No layer"), ("2@1", "never fires")],
)
def test_a_bad_layer_is_told_before_any_training(model, digits, layer, words, monkeypatch):
    monkeypatch.setattr("invkit.training.loop._train", None)
    with pytest.raises(LayerError, match=words):
        invkit.explain(model, layer, digits)


def test_a_glob_of_several_layers_is_for_profile(model, digits):
    with pytest.raises(LayerError, match=r"several layers.*invkit\.profile"):
        invkit.explain(model, "*", digits)


def test_a_model_that_takes_one_size_only_is_checked_at_that_size(tiny):
    fixed = nn.Sequential(nn.Flatten(), nn.Linear(3 * 30 * 30, 5))
    found = invkit.explain(fixed, "1", torch.rand(90, 3, 30, 30), settings=tiny)
    assert found.held_out.z.shape[1:] == (5,)


def test_held_out_images_need_the_same_concepts(model, digits, tiny):
    options = {"settings": tiny}
    with pytest.raises(DataError, match="other concepts"):
        invkit.explain(model, "2", digits, held_out=torch.rand(5, 3, 28, 28), **options)


def test_too_few_images_are_told_with_the_number_needed(model, tiny):
    with pytest.raises(DataError, match=r"at least 64 to train on.*Got: 17 and 3"):
        invkit.explain(model, "2", torch.rand(20, 3, 28, 28), settings=tiny)


def test_a_representation_that_is_not_finite_is_told(digits, tiny):
    class Poison(nn.Module):
        def forward(self, x):
            return (x.mean((2, 3)) - 0.4).log()

    model = nn.Sequential(Poison())
    with pytest.raises(LayerError, match=r"not finite for \d+ of"):
        invkit.explain(model, "0", digits, settings=tiny)


def test_images_without_concepts_are_explained_too(model, tiny):
    found = invkit.explain(model, model[2], torch.rand(90, 3, 32, 32), settings=tiny)
    assert found.concepts() == {}
    assert found.interpolate(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32), 3).shape == (1, 3, 3, 32, 32)
    with pytest.raises(SettingsError, match="No concept 'digit'"):
        found.modify(torch.rand(1, 3, 32, 32), digit=torch.rand(1, 3, 32, 32))


def test_a_concept_may_have_any_name(model, digits, tiny, tmp_path):
    few, (x, y) = digits.take(torch.arange(200)), digits.images(slice(4)).split(2)
    named = {"images": few.concepts["digit"].values, "self": few.concepts["foreground"].values}
    found = invkit.explain(model, "2", few.images(), concepts=named, settings=tiny)
    assert not torch.equal(found.modify(x, images=y), found.modify(x, self=y))
    found.to_html(tmp_path / "page.html")  # which shows edits of each


def test_given_factor_sizes_are_used_and_checked(model, digits, tiny):
    sizes = {"digit": 2, "background": 4}
    found = invkit.explain(model, "2", digits, settings=replace(tiny, factor_sizes=sizes))
    assert found.e.factors == {"residual": 6, "digit": 2, "background": 4}
    with pytest.raises(SettingsError):
        invkit.explain(model, "2", digits, settings=replace(tiny, factor_sizes={"digit": 40}))
    with pytest.raises(SettingsError, match="No labels for age"):
        invkit.explain(model, "2", digits, settings=replace(tiny, factor_sizes={"age": 2}))


def test_a_profile_of_layers_and_of_checkpoints(model, digits, tiny, tmp_path):
    over_layers = invkit.profile(model, ["0", "2", "4"], digits, settings=tiny)
    assert list(over_layers.explanations) == ["0", "2", "4"]
    other = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5))
    over_training = invkit.profile({"0": other, "10": model}, "2", digits, settings=tiny)
    assert list(over_training.explanations) == ["0", "10"]
    for profile in (over_layers, over_training):
        assert json.dumps(profile.to_dict())
        assert profile.to_html(tmp_path / "p.html").stat().st_size > 10_000
        assert len({e.autoencoder for e in profile.explanations.values()}) == 1
    one = invkit.explain(model, "2", digits, settings=tiny)
    assert over_layers["2"].metrics == one.metrics  # sharing a pass changes nothing


def test_each_representation_is_computed_once(model, digits, tiny, monkeypatch):
    monkeypatch.setattr(fidelity, "_sent_back", lambda *_: {})  # which sends some held-out images and samples of them
    seen = []
    handle = model[0].register_forward_hook(lambda _m, x, _o: seen.append(len(x[0])))
    invkit.profile(model, ["0", "2", "4"], digits, settings=tiny)
    handle.remove()
    assert sum(seen) == len(digits) + 3 * 2  # and a first look at two images, before all, and of either set


class Seen:
    """Rows of a tensor, and how many were asked for at once."""

    most = 0

    def __init__(self, values):
        self.values, self.shape = values, values.shape

    def __len__(self):
        return len(self.values)

    def __getitem__(self, rows):
        found = self.values[rows]
        Seen.most = max(Seen.most, len(found))
        return found


@pytest.mark.parametrize(("size", "expected"), [(room._AT_ONCE, 300), (4 * 16 * 70, 100)])
def test_of_a_large_layer_fewer_images_are_held_at_once(model, digits, tiny, monkeypatch, size, expected):
    monkeypatch.setattr(room, "_AT_ONCE", size)
    monkeypatch.setattr(Seen, "most", 0)
    known = invkit.Explainer.representations
    monkeypatch.setattr(
        invkit.Explainer, "representations", lambda *a: {k: tuple(map(Seen, z)) for k, z in known(*a).items()}
    )
    found = invkit.explain(model, "2", digits, held_out=digits, settings=tiny)
    assert Seen.most == expected  # 100 go with the explanation
    assert len(found.held_out.z) == expected


def test_the_cache_does_not_mix_up_concepts_given_in_another_order(model, digits, tiny, tmp_path):
    names = ["foreground", "background"]  # of equal sizes, so that nothing else tells them apart
    pixels = digits.pixels
    found = [
        invkit.explain(
            model,
            layer,
            pixels,
            concepts={name: digits.concepts[name] for name in order},
            settings=tiny,
            cache=tmp_path,
        )
        for layer, order in (("0", names), ("2", names[::-1]))
    ]
    fresh = invkit.explain(
        model,
        "2",
        pixels,
        concepts={n: digits.concepts[n] for n in names[::-1]},
        settings=tiny,
    )
    assert found[1].concepts() == fresh.concepts()


def test_new_labels_need_no_new_autoencoder_and_another_noise_no_new_e(model, digits, tiny, tmp_path):
    def made(kind, concepts, settings):
        invkit.explain(model, "2", digits.pixels, concepts=concepts, settings=settings, cache=tmp_path)
        return len(list(tmp_path.glob(f"{kind}-*.safetensors")))

    digit, both = {"digit": digits.concepts["digit"]}, dict(digits.concepts)
    assert made("autoencoder", digit, tiny) == made("autoencoder", both, tiny) == 1
    assert made("e", both, tiny) == made("e", both, replace(tiny, noise_floor=0.02)) == 2
    assert len(list(tmp_path.glob("t-*.safetensors"))) == 4  # a prior and a t at each noise


@pytest.mark.parametrize("stage", ["AutoencoderTask", "AnchorTask", "InvarianceTask"])
def test_what_is_made_after_an_interruption_is_not_kept(model, digits, tiny, tmp_path, monkeypatch, stage):
    whole = loop._train

    def cut_short(task, *args):
        result = whole(task, *args)
        if type(task).__name__ == stage:
            result.stopped = "interrupted"
        return result

    monkeypatch.setattr(loop, "_train", cut_short)
    invkit.explain(model, "2", digits, settings=tiny, cache=tmp_path)
    files = [file for file in tmp_path.glob("[!.]*") if file.suffix != ".checkpoint"]  # from which it would resume
    kept = {file.name.partition("-")[0] for file in files}
    assert (
        kept
        == {
            "AutoencoderTask": set(),
            "InvarianceTask": {"autoencoder", "codes"},
            "AnchorTask": {"autoencoder", "codes", "t"},
        }[stage]
    )


def test_an_explanation_says_where_its_training_was_cut_short(model, digits, tiny, tmp_path, interrupt):
    def explained(title):
        interrupt(title)
        return invkit.profile(model, ["0", "2"], digits, settings=tiny)

    found = {title: explained(title) for title in (None, "t of 2", "z̄ alone", "e")}
    told = {title: [found[title][layer].protocol.get("training") for layer in ("0", "2")] for title in found}
    short = "cut short"
    assert told == {None: [None, None], "t of 2": [None, short], "z̄ alone": [short, short], "e": [short, short]}
    assert "cut short: 2&" in found["t of 2"].to_html(tmp_path / "both.html").read_text()
    assert short in found["t of 2"]["2"].to_html(tmp_path / "one.html").read_text()
    assert short not in found[None].to_html(tmp_path / "whole.html").read_text()


def test_each_explanation_trains_an_embedder_of_its_own(model, digits, tiny, tmp_path):
    def mine(shape, width):
        return VectorEmbedder((4, 13, 13) if shape == (4, 2, 2) else shape, width)

    settings = replace(tiny, t=replace(tiny.t, embedder=mine))
    other = copy.deepcopy(model)
    found = invkit.profile({"0": model, "1": other}, "0", digits, settings=settings, cache=tmp_path / "cache")
    assert found["0"].t.embedder is not found["1"].t.embedder
    again = invkit.explain(model, "0", digits, settings=settings, cache=tmp_path / "cache")
    assert again.metrics == found["0"].metrics
    with pytest.raises(SettingsError, match=r"does not fit a layer of shape \(4, 2, 2\)"):
        invkit.explain(model, "2", digits, settings=settings)
    folder = found["0"].save(tmp_path / "saved")
    with pytest.raises(ArtefactError, match="custom embedder"):
        invkit.Explanation.load(folder)
    assert invkit.Explanation.load(folder, embedder=mine).invariance() == found["0"].invariance()


def test_an_explanation_that_was_saved_in_part_is_made_again(model, digits, tiny, tmp_path):
    options = {"settings": tiny, "cache": tmp_path}
    whole = invkit.explain(model, "2", digits, **options)
    (manifest,) = tmp_path.glob("explanation-*/manifest.json")
    manifest.unlink()
    assert invkit.explain(model, "2", digits, **options).metrics == whole.metrics
    assert manifest.exists()


@pytest.mark.parametrize(
    ("build", "layer", "words"),
    [
        (lambda: nn.Sequential(nn.Unflatten(1, (1, 3))), "0", "No embedder H"),
        (lambda: nn.Sequential(nn.Conv2d(3, 2, 1), nn.Threshold(2.0, float("nan"))), "1", "not finite"),
    ],
)
def test_a_layer_without_an_embedder_or_finite_values_is_told_before_any_training(
    build, layer, words, digits, tiny, no_training
):
    with pytest.raises(LayerError, match=words):
        invkit.explain(build(), layer, digits, settings=tiny)


def test_factors_that_do_not_fit_are_told_before_any_training(model, digits, tiny, no_training):
    for sizes, words in (({"digit": 12}, "do not fit"), ({"digt": 2}, "No labels for digt")):
        with pytest.raises(SettingsError, match=words):
            invkit.explain(model, "2", digits, settings=replace(tiny, factor_sizes=sizes))
    many = {f"q{k}": torch.rand(len(digits)) for k in range(12)}
    with pytest.raises(SettingsError, match="Give fewer concepts"):
        invkit.explain(model, "2", digits.pixels, concepts=many, settings=tiny)


def test_a_preprocessing_in_place_leaves_the_images_alone(model, digits, tiny):
    pixels = digits.images()
    before = pixels.clone()
    invkit.explain(model, "2", pixels, settings=tiny, preprocess=lambda x: x.sub_(0.5))
    assert torch.equal(pixels, before)


def test_a_flow_block_of_a_plugin_serves_as_coupling(model, digits, tiny):
    settings = replace(tiny, t=replace(tiny.t, coupling="invkit:spline", mixing="invkit:linear"))
    found = invkit.explain(model, "2", digits, settings=settings)
    kinds = {type(block).__name__ for block in found.t.blocks.blocks}
    assert kinds == {"ActNorm", "SplineCoupling", "LULinear"}


class Shrinking(invkit.Autoencoder):
    """An autoencoder whose codes are maps: the image at a seventh of its side."""

    image_size, latent_shape = 28, (3, 4, 4)

    def __init__(self):
        super().__init__()
        self.config = {}

    def encode(self, images):
        mean = 4 * nn.functional.avg_pool2d(images, 7) - 2
        return Posterior(mean, torch.full_like(mean, 0.05))

    def decode(self, latents):
        return nn.functional.interpolate((latents + 2) / 4, size=28, mode="bilinear").clamp(0, 1)


@pytest.mark.parametrize("coupling", ["affine", "tarflow"])
def test_codes_may_be_maps(coupling, model, digits, tiny, tmp_path):
    check_autoencoder(
        Shrinking(),
        expected_failures={
            "gradients_reach_the_encoder": "it has no parameters",
            "gradients_reach_the_decoder": "it has no parameters",
        },
    )
    flow = replace(tiny.t, coupling=coupling, map_width=8)
    settings = replace(tiny, t=flow, e=flow)
    found = invkit.explain(model, "2", digits, autoencoder=Shrinking(), settings=settings)
    x = digits.images(slice(2))
    assert found.t.dim == 48
    assert found.sample(x, 3).shape == (2, 3, 3, 28, 28)
    assert found.modify(x, digit=x[:1]).shape == found.reconstruct(x).shape == (2, 3, 28, 28)
    assert found.interpolate(x, x.flip(0), 4).shape == (2, 4, 3, 28, 28)
    again = invkit.Explanation.load(found.save(tmp_path / "saved"), model, autoencoder=Shrinking())
    torch.testing.assert_close(again.sample(x, 3), found.sample(x, 3))


def test_an_amortised_t_is_one_for_all_layers_and_each_explanation_stands_alone(model, digits, tiny, tmp_path):
    together = replace(tiny, amortised=True)
    found = invkit.profile(model, ["0", "2", "4"], digits, settings=together, cache=tmp_path)
    a, b = found["0"].t, found["4"].t
    assert all(torch.equal(x, y) for x, y in zip(a.blocks.parameters(), b.blocks.parameters(), strict=True))
    assert a.embedder.config != b.embedder.config
    found["4"].save(tmp_path / "alone")
    images = found["4"].held_out.data.images(slice(3))
    alone = invkit.Explanation.load(tmp_path / "alone", model)
    assert torch.equal(alone.sample(images, n=2), found["4"].sample(images, n=2))
    again = invkit.profile(model, ["0", "2", "4"], digits, settings=together, cache=tmp_path)
    assert again["2"].metrics == found["2"].metrics
    apart = invkit.profile(model, ["0", "2"], digits, settings=together, cache=tmp_path)
    assert apart["2"].metrics["nll"] != found["2"].metrics["nll"]  # other companions, another t

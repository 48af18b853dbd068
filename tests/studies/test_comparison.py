"""Samples against regressed images: the parts against closed forms, the study on a toy network."""

import importlib
from dataclasses import replace

import pytest
import torch
from torch import nn

import invkit
from invkit.autoencoders import AutoencoderSettings, BigAutoencoder, ConvAutoencoder, ImageMetric, training_settings
from invkit.core import Estimate, Interpretee
from invkit.data import FileRows, ImageSet
from invkit.errors import LayerError, SettingsError
from invkit.evaluation import Features
from invkit.explainer import Explainer
from invkit.explainer.invariance import train_t
from invkit.flows import VectorEmbedder
from invkit.interpretees import ModuleInterpretee, PerceptualDistance
from invkit.studies.comparison import comparison
from invkit.studies.inverting.descent import inverted, total_variation
from invkit.studies.inverting.regression import RegressionTask, Regressor, decoder_like, regress, trained_regressor
from invkit.studies.judging import trained_judge
from invkit.training import FitSettings, fit
from invkit.utils.random import generator_for


@pytest.fixture(scope="module")
def pixels():
    """A network whose one layer are features of pixels, for distances."""
    return Features(ModuleInterpretee(nn.Sequential(nn.AvgPool2d(14), nn.Flatten()), invkit.Preprocess()), "1")


def test_the_decoder_is_the_autoencoders_for_other_codes():
    for own in (ConvAutoencoder(32, 12, width=8), BigAutoencoder(32, 12, width=4, encoder="resnet18")):
        built = decoder_like(own, AutoencoderSettings(), 30)
        assert type(built) is type(own)
        assert built.decode(torch.randn(2, 30)).shape == (2, 3, 32, 32)
        shapes = [[p.shape for n, p in each.named_parameters() if "decoder." in n] for each in (own, built)]
        assert shapes[0] == shapes[1]
        assert not [n for n, _ in built.named_parameters() if n.startswith(("encoder", "trunk", "to_posterior"))]


def test_what_a_layer_discards_is_regressed_to_its_mean():
    """Images are black or white, and z says nothing: squared errors are smallest for grey."""
    data = ImageSet(torch.arange(200).remainder(2).float()[:, None, None, None].expand(-1, 3, 28, 28).contiguous())
    z = torch.zeros(200, 4)
    module = Regressor(VectorEmbedder((4,), 8), decoder_like(ConvAutoencoder(28, 8, width=8), AutoencoderSettings(), 8))
    task = RegressionTask(module, lambda z, _: z, (data, z), (data, z), ImageMetric())
    fit(task, FitSettings(steps=150, batch_size=50, learning_rate=1e-2, ema=0.9))
    with torch.no_grad():
        assert module(z[:1]).mean() == pytest.approx(0.5, abs=0.05)
        assert task.validation_loss(module) == pytest.approx(float(ImageMetric().nll(torch.tensor(0.25))), abs=0.05)


def test_the_regressor_reads_z_as_t_does_and_is_cached(tiny, digits, tmp_path):
    plain = ImageSet(digits.pixels)
    explainer = Explainer(plain, settings=tiny, cache=tmp_path).fit()
    z = tuple(part.images().mean((2, 3)) for part in (explainer.train, explainer.held_out))
    t, _ = train_t(explainer, z, "toy", "t")
    own = tiny.autoencoder
    made = [trained_regressor(explainer, t, z, own, "toy", "regression", latent_dim=20) for _ in range(2)]
    rows = torch.arange(len(z[1]))
    images = [regress(each, t, z[1], rows, generator_for(0, "test")) for each in made]
    assert torch.equal(*images)
    assert torch.allclose(images[0][:5], made[0](t.perceive(z[1], generator_for(0, "test")))[:5], atol=1e-5)
    assert len(list(tmp_path.glob("regressor-*.safetensors"))) == 1
    explainer.cache = None
    fresh = trained_regressor(explainer, t, z, own, "toy", "regression", latent_dim=20)
    assert torch.allclose(regress(fresh, t, z[1], rows, generator_for(0, "test")), images[0], atol=1e-4)


def test_total_variation_of_a_ramp():
    ramp = torch.linspace(0, 1, 9).expand(1, 3, 9, 9)
    assert total_variation(ramp) == pytest.approx((1 / 8) ** 2)


def test_descent_finds_the_images_of_an_invertible_layer():
    network = ModuleInterpretee(nn.Conv2d(3, 12, 2, 2), invkit.Preprocess())
    images = torch.rand(2, 3, 8, 8)
    z = network.represent(images, ["output"])["output"]
    found = inverted(network, "output", z, 8, steps=400, variation=0, norm=0)
    assert (found - images).abs().mean() < 0.02
    smooth = inverted(network, "output", z, 8, steps=200, variation=50)
    assert total_variation(smooth).mean() < 0.2 * total_variation(images).mean()


def test_the_study_of_a_toy_network(network, digits, pixels, tiny, tmp_path):
    explainer, preprocess = Explainer(digits, settings=tiny, cache=tmp_path), invkit.Preprocess()
    study = comparison(explainer, network, "4", features=pixels, gradient=True, latent_dim=20, preprocess=preprocess)
    assert len(study.headline) == 3
    last = study.metrics["layers"]["4"]
    ours, theirs = (last[way]["Fréchet distance"]["value"] for way in ("invkit's samples", "regressed images"))
    assert study.headline["regressed images less invkit's samples at '4'"].value == pytest.approx(theirs - ours)
    assert 0 < last["gradient descent"]["inconsistency"]["value"] < last["invkit's samples"]["inconsistency"]["value"]
    page = study.to_html(tmp_path / "page.html").read_text()
    assert page.count("<img") == 4  # three curves, and the images of a layer


def test_large_representations_are_read_by_few_rows(network, digits, pixels, tiny, tmp_path, monkeypatch):
    asked, read = [], FileRows.__getitem__

    def counted(of, rows):
        found = read(of, rows)
        asked.extend([len(found)] if of.shape[1:] == (4, 13, 13) else [])
        return found

    monkeypatch.setattr(FileRows, "__getitem__", counted)
    monkeypatch.setattr("invkit.utils.resources._AT_ONCE", 0)  # bytes: none but for the images that there are always
    explainer = Explainer(digits, settings=replace(tiny, held_out_fraction=0.6), cache=tmp_path)
    comparison(explainer, network, "0", features=pixels, latent_dim=20, preprocess=invkit.Preprocess())
    assert max(asked) == 100  # of 180 held-out images, that an explanation carries with it


def test_an_interrupted_study_raises_and_resumes_where_it_stopped(
    network, digits, tiny, tmp_path, monkeypatch, interrupt
):
    monkeypatch.setitem(trained_judge.__kwdefaults__, "settings", replace(tiny.fit_t, steps=4))

    def run(cache=None):
        explainer = Explainer(digits, settings=tiny, cache=cache)
        return comparison(explainer, network, "4", latent_dim=20, preprocess=invkit.Preprocess())

    parts = ["autoencoder", "z̄ alone", "e, towards its concepts", "e", "judge", "t of 4", "regression from 4"]
    for title in parts:
        interrupt(title)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
        assert len(list(tmp_path.glob("*.checkpoint"))) == 1
    interrupt(None)
    assert run(tmp_path).headline == run().headline


@pytest.mark.usefixtures("no_training")
def test_without_concepts_features_are_required(network, digits, tiny):
    with pytest.raises(SettingsError, match=r"Features\.inception"):
        comparison(Explainer(ImageSet(digits.pixels), settings=tiny), network, "1", preprocess=invkit.Preprocess())


@pytest.mark.usefixtures("no_training")
def test_descent_in_a_model_without_gradients_raises_before_any_training(digits, pixels, tiny):
    class Closed(Interpretee):
        def layers(self):
            return []

        def represent(self, images, layers):
            return {layer: images.flatten(1) for layer in layers}

        def decide(self, images):
            return images.flatten(1)

        def fingerprint(self):
            return "closed"

    with pytest.raises(LayerError, match="no gradients"):
        comparison(Explainer(digits, settings=tiny), Closed(), "a", features=pixels, gradient=True)


@pytest.fixture
def decided(monkeypatch):
    """Let the metrics decide, which those of networks trained for some steps do not."""
    ahead = Estimate(1.0, 0.1, 45)
    monkeypatch.setattr(importlib.import_module("invkit.studies.comparison"), "frechet_difference", lambda *_: ahead)


@pytest.fixture
def compare(network, digits, pixels):
    """Compare samples given the scores of a toy network, with an Explainer of these settings and autoencoder."""

    def run(settings, autoencoder=None):
        explainer = Explainer(digits, settings=settings, autoencoder=autoencoder)
        return comparison(explainer, network, "4", features=pixels, latent_dim=20, preprocess=invkit.Preprocess())

    return run


@pytest.mark.usefixtures("decided")
def test_an_autoencoder_of_unknown_training_has_no_verdict(compare, digits, tiny, monkeypatch):
    unsettled = replace(tiny, autoencoder=None)
    few = FitSettings(steps=3, batch_size=8, learning_rate=1e-3)
    own = AutoencoderSettings(latent_dim=8, width=4, pixel="l1", fit=few)
    given = invkit.train_autoencoder(digits, settings=own)
    assert training_settings(given) == own
    known = compare(unsettled, given)
    assert known.holds is True
    assert "3 steps by l1" in str(known.sections[-1])
    monkeypatch.setattr(AutoencoderSettings, "for_images", lambda size: own)
    unknown = compare(unsettled, given.autoencoder)
    rushed = compare(tiny, given)  # says how one is trained, not how this one was
    assert "3 steps by l1" in str(rushed.sections[-1])
    assert unknown.holds is None
    assert "it is unknown how the autoencoder was trained" in str(unknown.sections[-1])


@pytest.mark.usefixtures("decided")
def test_a_decoder_that_sees_fewer_images_than_the_autoencoder_has_no_verdict(compare, tiny):
    """The autoencoder sees random flips and crops; z is of stored images."""
    augmenting = replace(tiny, autoencoder=replace(tiny.autoencoder, augment=True))
    denied, shared = (compare(replace(augmenting, copies=copies)) for copies in (1, 2))
    told = "randomly flipped and cropped images, as the autoencoder was"
    assert denied.holds is None
    assert told in str(denied.sections[-1])
    assert shared.holds is True
    assert told not in str(shared.sections[-1])
    assert "12 steps by l2, without" in str(shared.sections[-1])


def test_settings_of_a_saved_autoencoder_are_known(digits, tmp_path):
    own = AutoencoderSettings(latent_dim=8, width=4, fit=FitSettings(steps=3, batch_size=8, learning_rate=1e-3))
    trained = invkit.train_autoencoder(digits, settings=own)
    assert training_settings(trained.save(tmp_path / "saved")) == own
    assert training_settings(trained.autoencoder) is None


def test_settings_are_unknown_after_a_custom_distance_or_an_interruption(digits, tmp_path, interrupt):
    own = AutoencoderSettings(latent_dim=8, width=4, fit=FitSettings(steps=3, batch_size=8, learning_rate=1e-3))
    mine = PerceptualDistance(ModuleInterpretee(nn.Conv2d(3, 2, 3), invkit.Preprocess()), ["output"])
    by_mine = invkit.train_autoencoder(digits, settings=own, perceptual=mine)
    interrupt("autoencoder")
    short = invkit.train_autoencoder(digits, settings=own)
    for name, each in {"by a distance": by_mine, "short": short}.items():
        assert training_settings(each) is None
        assert training_settings(each.save(tmp_path / name)) is None

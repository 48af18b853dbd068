"""Training an autoencoder as a user does: presets, saving, sharing with explanations, sheets, errors."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

import invkit
from invkit.autoencoders import AutoencoderSettings, BigAutoencoder, as_autoencoder, build_autoencoder
from invkit.autoencoders.build import load_encoder
from invkit.errors import ArtefactError, DataError, LayerError, SettingsError
from invkit.evaluation import Features
from invkit.interpretees import ModuleInterpretee, PerceptualDistance
from invkit.training import FitSettings
from invkit.utils.io import write_tensors

FEW = FitSettings(steps=4, batch_size=16, learning_rate=1e-3, evaluate_every=2)
SMALL = AutoencoderSettings(latent_dim=12, width=8, fit=FEW)
BIG = AutoencoderSettings(architecture="big", latent_dim=12, width=4, encoder="resnet18", discriminator=True, fit=FEW)


@pytest.fixture
def photographs():
    return torch.rand(100, 3, 32, 32)


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))


@pytest.mark.parametrize("settings", [SMALL, BIG], ids=["conv", "big"])
def test_a_trained_one_is_saved_and_loaded(photographs, tmp_path, settings, monkeypatch):
    trained = invkit.train_autoencoder(photographs, settings=settings, sheets=tmp_path / "sheets")
    assert set(trained.metrics) == {"psnr", "ssim"}
    assert sorted(f.name for f in (tmp_path / "sheets").iterdir()) == [f"step-{k:07d}.png" for k in (0, 2, 4)]
    with Image.open(tmp_path / "sheets" / "step-0000004.png") as sheet:
        assert sheet.size == (2 * (12 * 34 - 2), 2 * (3 * 34 - 2))
    loaded = invkit.TrainedAutoencoder.load(trained.save(tmp_path / "saved"))
    assert loaded.metrics == trained.metrics
    assert loaded.result.terms == trained.result.terms
    assert repr(loaded).startswith(f"TrainedAutoencoder({type(trained.autoencoder).__name__}, 32 px, psnr=")
    assert len(repr(replace(loaded, metrics={f"distance {k}": loaded.metrics["psnr"] for k in range(9)}))) < 120
    assert str(loaded) == str(trained)
    assert f"ssim {loaded.metrics['ssim']}" in str(loaded)
    assert torch.equal(loaded.examples, trained.examples)
    images = photographs[:3]
    assert torch.equal(loaded.autoencoder.encode(images).mean, trained.autoencoder.encode(images).mean)
    again = invkit.load_autoencoder(tmp_path / "saved")
    assert torch.equal(again.encode(images).mean, trained.autoencoder.encode(images).mean)
    monkeypatch.setattr("invkit.utils.distributed.device", lambda: torch.device("meta"))  # stands in for a GPU
    devices = {given: as_autoencoder(given).device.type for given in (tmp_path / "saved", str(tmp_path / "saved"))}
    assert set(devices.values()) == {"meta"}
    assert as_autoencoder(loaded).device.type == as_autoencoder(again).device.type == "cpu"
    page = loaded.to_html(tmp_path / "report.html").read_text()
    assert page.count("data:image/png") == 2
    assert f"{loaded.metrics['psnr'].value:.3f}" in page


def test_all_that_is_explained_on_the_same_images_shares_it(photographs, network, tiny, tmp_path, monkeypatch, capsys):
    tiny = replace(tiny, autoencoder=SMALL)
    invkit.train_autoencoder(photographs, settings=SMALL, cache=tmp_path)
    invkit.explain(network, "0", photographs, preprocess=invkit.Preprocess(), settings=tiny, cache=tmp_path)
    assert "autoencoder: found, trained before" in capsys.readouterr().err
    assert len(list(tmp_path.glob("autoencoder-*"))) == 1


@pytest.mark.parametrize("as_path", [False, True])
def test_a_trained_one_explains_other_images(photographs, network, tiny, tmp_path, as_path):
    trained = invkit.train_autoencoder(photographs, settings=SMALL)
    given = trained.save(tmp_path / "saved") if as_path else trained
    found = invkit.explain(
        network,
        "0",
        photographs.flip(0),
        preprocess=invkit.Preprocess(),
        autoencoder=given,
        settings=tiny,
    )
    assert torch.equal(found.autoencoder.encode(photographs[:2]).mean, trained.autoencoder.encode(photographs[:2]).mean)


def test_size_and_steps_are_logged_before_training(photographs, capsys):
    invkit.train_autoencoder(photographs, settings=SMALL)
    told = capsys.readouterr().err
    assert "ConvAutoencoder at 32 px" in told
    assert "4 steps on cpu" in told


def test_the_preset_depends_on_the_image_size():
    assert AutoencoderSettings.for_images(28) == AutoencoderSettings()
    assert AutoencoderSettings.for_images(64) == AutoencoderSettings.tiny()
    assert AutoencoderSettings.for_images(128) == AutoencoderSettings.small()
    with pytest.raises(SettingsError, match="default, tiny, small, paper"):
        AutoencoderSettings.preset("huge")


def test_the_papers_settings_build_tables_s7_and_s4():
    with torch.device("meta"):
        model = build_autoencoder(AutoencoderSettings.paper(), 128)
    assert isinstance(model, BigAutoencoder)
    assert model.config == BigAutoencoder(128, 128, 96, "resnet101").config


def test_an_encoder_starts_from_published_weights(tmp_path):
    import torchvision

    published = torchvision.models.resnet18(weights=None)
    torch.save(published.state_dict(), tmp_path / "resnet18.pth")
    settings = replace(BIG, encoder_weights=str(tmp_path / "resnet18.pth"))
    built = build_autoencoder(settings, 32)
    load_encoder(built, settings)
    assert torch.equal(built.trunk.layer1[0].conv1.weight, published.layer1[0].conv1.weight)
    assert built.trunk.fc.out_features == 24


def test_missing_weights_of_the_metric_are_reported_with_alternatives(photographs, monkeypatch):
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *_, **__: (_ for _ in ()).throw(OSError("offline")))
    with pytest.raises(ArtefactError, match=r"LPIPS needs VGG-16.*offline.*pixels alone.*PerceptualDistance"):
        invkit.train_autoencoder(photographs, settings=replace(SMALL, perceptual="lpips"))


def test_what_the_metrics_need_is_checked_before_training(photographs, network, monkeypatch):
    monkeypatch.setattr("invkit.autoencoders.train.fit_autoencoder", lambda *_, **__: pytest.fail("training began"))
    interpretee = ModuleInterpretee(network, invkit.Preprocess())
    cases = [
        ({"features": Features(interpretee, "99")}, LayerError, "No layer '99'"),
        ({"perceptual": PerceptualDistance(interpretee, ["4"])}, SettingsError, "'4' is not one"),
        ({"device": "gpu"}, SettingsError, "No such device"),
    ]
    for options, error, message in cases:
        with pytest.raises(error, match=message):
            invkit.train_autoencoder(photographs, settings=SMALL, **options)


def test_an_explanation_loads_only_with_its_own_autoencoder(photographs, network, tiny, tmp_path):
    trained = invkit.train_autoencoder(photographs, settings=SMALL)
    other = invkit.train_autoencoder(photographs, settings=SMALL, seed=1)
    options = {"preprocess": invkit.Preprocess()}
    found = invkit.explain(network, "0", photographs, autoencoder=trained, settings=tiny, **options)
    assert found.protocol["autoencoder"]["latent_dim"] == 12
    folder = found.save(tmp_path / "explanation")
    again = invkit.Explanation.load(folder, network, autoencoder=trained, **options)
    assert torch.equal(again.sample(photographs[:1], 2), found.sample(photographs[:1], 2))
    with pytest.raises(ArtefactError, match="made with another autoencoder"):
        invkit.Explanation.load(folder, network, autoencoder=other.save(tmp_path / "other"), **options)


def test_a_cached_autoencoder_needs_no_pretrained_weights(photographs, tmp_path, monkeypatch):
    settings = replace(BIG, encoder_weights="DEFAULT")
    monkeypatch.setattr("invkit.autoencoders.fit.load_encoder", lambda *_: None)
    first = invkit.train_autoencoder(photographs, settings=settings, cache=tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *_, **__: (_ for _ in ()).throw(OSError("offline")))
    again = invkit.train_autoencoder(photographs, settings=settings, cache=tmp_path)
    assert torch.equal(again.autoencoder.encode(photographs[:2]).mean, first.autoencoder.encode(photographs[:2]).mean)
    with pytest.raises(ArtefactError, match=r"weights of resnet18.*offline.*encoder_weights='random'"):
        invkit.train_autoencoder(photographs, settings=settings, seed=1, cache=tmp_path)


def test_a_cached_file_of_another_network_is_replaced(photographs, network, tmp_path, capsys):
    import torchvision

    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "resnet18.pth")
    settings = replace(BIG, encoder_weights=str(tmp_path / "resnet18.pth"))
    options = {"settings": settings, "perceptual": PerceptualDistance(ModuleInterpretee(network), ["0"])}
    first = invkit.train_autoencoder(photographs, **options, cache=tmp_path)
    (file,) = tmp_path.glob("autoencoder-*.safetensors")
    write_tensors(file, {"a": torch.zeros(1)}, {"result": "{}"})
    again = invkit.train_autoencoder(photographs, **options, cache=tmp_path)
    told = capsys.readouterr().err
    assert "is damaged and is recomputed" in told
    assert "steps on cpu" in told
    assert again.result.terms == first.result.terms
    assert again.result.terms[-1]["perceptual"] > 0
    for name, value in first.autoencoder.state_dict().items():
        assert torch.equal(value, again.autoencoder.state_dict()[name]), name


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"size": 100}, SettingsError, "32 or 64 or 128"),
        ({"size": 100, "settings": "tiny"}, SettingsError, "28 to 64"),
        ({"held_out": torch.rand(2, 3, 32, 32), "settings": SMALL}, DataError, "Too few"),
        ({"settings": "nice"}, SettingsError, "No such preset"),
    ],
)
def test_invalid_arguments_are_refused_before_images_are_read(photographs, options, error, message):
    with pytest.raises(error, match=message):
        invkit.train_autoencoder(photographs, **options)


def test_a_folder_without_an_autoencoder_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match=r"No trained autoencoder in .*another folder"):
        invkit.load_autoencoder(tmp_path)
    with pytest.raises(ArtefactError, match="no such folder"):
        invkit.load_autoencoder(f"{tmp_path}/nothing/")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ArtefactError, match="holds no trained autoencoder"):
        invkit.load_autoencoder(tmp_path)

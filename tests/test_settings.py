"""Settings by name, and those that suit images."""

import pytest
import torch

import invkit
from invkit.autoencoders import AutoencoderSettings
from invkit.errors import SettingsError
from invkit.settings import PRESETS, Settings


def images(count, size):
    return invkit.ImageSet(torch.zeros(count, 3, 1, 1).expand(-1, -1, size, size))


def test_presets_have_names_and_settings_are_returned_unchanged():
    data, own = images(100, 28), Settings(rho=0.5)
    assert Settings.of(own, data) is own
    assert Settings.of(None, data) == Settings.for_images(data) == Settings()
    assert [Settings.of(name, data) for name in PRESETS] == [Settings.few(), Settings.quick(), Settings.paper()]


def test_a_first_look_at_few_photographs_has_their_flows_and_autoencoder_with_fewer_steps():
    data = images(898, 48)
    quick, whole = Settings.of("quick", data), Settings.for_images(data)
    assert (quick.t, quick.e, quick.copies) == (whole.t, whole.e, 2)
    assert quick.autoencoder.latent_dim == AutoencoderSettings.tiny().latent_dim
    assert quick.autoencoder.augment
    trainings = ("fit_t", "fit_anchors", "fit_e")
    assert all(getattr(quick, name).steps < getattr(whole, name).steps for name in trainings)
    assert quick.autoencoder.fit.steps < AutoencoderSettings.tiny().fit.steps


@pytest.mark.parametrize("wrong", ["fast", 3])
def test_an_unknown_preset_is_refused_before_images_are_read(network, tmp_path, wrong):
    with pytest.raises(SettingsError, match="few, quick, paper"):
        invkit.explain(network, "0", tmp_path / "nowhere", preprocess=lambda x: x, settings=wrong)


def test_a_first_look_at_large_images_is_refused_by_their_size(network):
    with pytest.raises(SettingsError, match="64 px"):
        invkit.explain(network, "0", images(100, 128), size=128, settings="quick", preprocess=lambda x: x)

"""What studies start from."""

import pytest
import torch

import invkit
from invkit.autoencoders import trained
from invkit.interpretees import ModuleInterpretee
from invkit.studies import comparison, modification, shift
from invkit.studies.judging import trained_judge


@pytest.mark.parametrize(
    "study",
    [
        lambda model, data, **more: comparison(model, "4", data, latent_dim=20, **more),
        lambda model, data, **more: modification(data, **more),
        lambda model, data, **more: shift(model, "4", data, home=data.take(torch.arange(200)), **more),
    ],
    ids=["comparison", "modification", "shift"],
)
def test_an_autoencoder_is_loaded_once(study, network, digits, tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(trained_judge.__kwdefaults__, "settings", tiny.fit_t)
    made = invkit.train_autoencoder(digits, settings=tiny.autoencoder).save(tmp_path)
    loaded, load = [], trained.load_autoencoder
    monkeypatch.setattr(trained, "load_autoencoder", lambda given: loaded.append(given) or load(given))
    study(ModuleInterpretee(network), digits, autoencoder=made, settings=tiny)
    assert loaded == [made]

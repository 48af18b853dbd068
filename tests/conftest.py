"""Shared by all tests: a fixed seed, small settings, a small network."""

import signal
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from invkit import Explainer
from invkit.data import color_digits
from invkit.settings import Settings
from invkit.utils.progress import set_verbosity


@pytest.fixture(autouse=True)
def _fresh():
    """Start each test with the same seed and the default verbosity."""
    torch.manual_seed(0)
    set_verbosity("info")


@pytest.fixture(scope="session")
def tiny():
    return Settings.tiny()


@pytest.fixture(scope="session")
def quick():
    """A first look, for slow tests: `Settings.quick()` with an autoencoder and flows of half the width."""
    chosen = Settings.quick()
    flow = replace(chosen.t, n_flow=6, width=192)
    return replace(chosen, autoencoder=replace(chosen.autoencoder, width=32), t=flow, e=flow)


@pytest.fixture(scope="session")
def digits():
    """300 coloured digits."""
    return color_digits(copies=1).take(torch.arange(300))


@pytest.fixture(scope="session")
def explainer(digits, tiny):
    """A fitted Explainer of these digits. Tests share it and leave it as it is."""
    return Explainer(digits, settings=tiny).fit()


@pytest.fixture
def no_training(monkeypatch):
    """Fail when a part is trained."""
    monkeypatch.setattr("invkit.training.loop._train", lambda *_, **__: pytest.fail("training began"))


@pytest.fixture
def network():
    """Three layers of three shapes: a map, a vector, scores."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)
    )


@pytest.fixture
def interrupt(monkeypatch):
    """Press Ctrl-C in the first step of the training of that title; None lets all go on."""
    from invkit.training import loop

    step = loop.take_step

    def put(title):
        def interrupted(task, *more, **options):
            if task.title == title:
                signal.raise_signal(signal.SIGINT)
            return step(task, *more, **options)

        monkeypatch.setattr(loop, "take_step", interrupted)

    return put


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a plugin as pip would: a module and its metadata on sys.path; imports nothing."""
    from invkit import plugins

    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def put(prefix, code, distribution=None, version="1.2.3"):
        distribution = distribution or f"invkit-{len(list(site.iterdir()))}"
        module = distribution.replace("-", "_")
        (site / f"{module}.py").write_text(code)
        info = site / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[invkit]\n{prefix} = {module}\n")
        plugins.forget()
        return module

    yield put
    for name in [name for name in sys.modules if str(getattr(sys.modules[name], "__file__", "")).startswith(str(site))]:
        del sys.modules[name]
    plugins.forget()

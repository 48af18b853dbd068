"""The demo from nothing to its report, on few images and for few steps."""

import json
from dataclasses import replace

import pytest
import torch

from invkit.data import color_digits
from invkit.settings import Settings
from invkit.studies.demo import run


@pytest.fixture
def small(monkeypatch, tiny):
    """Run the demo on few images for few steps."""
    few = replace(tiny.fit_t, steps=4, evaluate_every=2)
    images = {
        "train": color_digits(copies=1).take(torch.arange(200)),
        "test": color_digits("test", copies=1).take(torch.arange(60)),
    }
    monkeypatch.setattr(run, "CHECKPOINTS", (0, 2, 4))
    monkeypatch.setattr(run, "NETWORK", few)
    monkeypatch.setattr(run, "color_digits", lambda part, **_: images[part])
    monkeypatch.setattr(Settings, "for_images", classmethod(lambda *_: tiny))
    monkeypatch.setitem(run.trained_judge.__kwdefaults__, "settings", few)


def test_writes_report_pictures_and_metrics_and_trains_nothing_twice(small, tmp_path):
    metrics = run.run_demo(tmp_path)
    assert list(metrics["checkpoints"]) == ["0", "2", "4"]
    assert set(metrics["edits"]) == {"digit", "foreground", "background"}
    assert all(rate is None or 0 <= rate <= 1 for own in metrics["edits"].values() for rate in own.values())
    page = (tmp_path / "report.html").read_text()
    assert "data:image/png" in page
    assert {"curves.png", "samples.png"} <= {file.name for file in tmp_path.iterdir()}
    assert json.loads((tmp_path / "metrics.json").read_text()) == json.loads(json.dumps(metrics))
    trained = sorted((tmp_path / "cache").rglob("*.safetensors"))
    written = [file.stat().st_mtime_ns for file in trained]
    assert run.run_demo(tmp_path) == metrics
    assert [file.stat().st_mtime_ns for file in trained] == written


def test_the_first_report_does_not_wait_for_the_judge(small, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "trained_judge", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.run_demo(tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert list(metrics["checkpoints"]) == ["0", "4"]
    assert "edits" not in metrics
    assert "This page is a first one" in (tmp_path / "report.html").read_text()

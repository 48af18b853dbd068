"""The Python blocks of README.md and docs/ run, on a small network and few images."""

import re
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.utils import save_image

import invkit
from invkit.data import color_digits

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- not run: [^>]+-->\n)?```python\n(.*?)```", re.DOTALL)


def blocks(file):
    """Return the Python blocks of a page that are to be run."""
    return [code for skipped, code in BLOCK.findall(file.read_text()) if not skipped]


def network():
    torch.manual_seed(0)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2))
    parts = {"3": nn.Conv2d(3, 4, 3, 2), "7": nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3, 2)), "11": head}
    features = nn.Sequential(OrderedDict(parts))
    model = nn.Module()
    model.features, model.forward = features, features.forward
    return model.eval()


@pytest.fixture
def stage(tmp_path, monkeypatch, tiny):
    """A folder of small images, the names that the pages use, and settings of seconds."""
    monkeypatch.chdir(tmp_path)
    images = color_digits(copies=1, size=32).take(torch.arange(240))
    for name, rows in (("photographs", range(200)), ("test", range(200, 240))):
        for k in rows:
            folder = Path(name, "ab"[k % 2])
            folder.mkdir(parents=True, exist_ok=True)
            save_image(images.images(slice(k, k + 1)), folder / f"{k:03}.png")
    monkeypatch.setattr(invkit.Settings, "of", classmethod(lambda cls, *_: tiny))
    monkeypatch.setattr(invkit.AutoencoderSettings, "for_images", classmethod(lambda cls, _: tiny.autoencoder))
    monkeypatch.setattr("invkit.explainer.validation._COPIES", 1)
    few = images.take(torch.arange(4)).images()
    names = {"model": network(), "trained": network(), "untrained": network(), "ages": torch.rand(200)}
    explanation = invkit.explain(names["model"], "features.7", "photographs/", preprocess=invkit.Preprocess())
    return {**names, "x": few[:2], "y": few[2:], "explanation": explanation, "invkit": invkit}


@pytest.mark.filterwarnings("ignore:Unknown preprocessing")
@pytest.mark.parametrize("page", ["README.md", "docs/fidelity.md", "docs/studies.md"])
def test_the_python_of_the_page_runs(stage, page):
    found = blocks(ROOT / page)
    assert found
    for code in found:
        exec(compile(code, page, "exec"), stage)

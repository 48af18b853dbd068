"""The command line as a function, and a model in a file."""

import pytest
from click.testing import CliRunner
from PIL import Image

from invkit.cli import main

MODEL = """
from torch import nn
def small():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.AdaptiveAvgPool2d(2), nn.Flatten())
"""


@pytest.fixture
def run():
    return lambda *arguments: CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def model(tmp_path):
    file = tmp_path / "model.py"
    file.write_text(MODEL)
    return f"{file}:small"


@pytest.fixture
def folder(tmp_path):
    """150 plain images of two classes."""
    for k in range(150):
        path = tmp_path / "images" / ("ab"[k % 2]) / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 30), (k, k // 2, 90 * (k % 2))).save(path)
    return tmp_path / "images"

"""Shared by all tests: a fixed seed, small settings, a drawn face, no network."""

import socket

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter

from invkit.settings import Settings


@pytest.fixture(autouse=True)
def _seeded_and_offline(monkeypatch):
    def refuse(*_arguments, **_options):
        raise OSError("no network in tests")

    torch.manual_seed(0)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="session")
def tiny():
    return Settings.tiny()


@pytest.fixture(scope="session")
def draw_face():
    """Draw a face, frontal and upright, (1, 3, 48, 48), eyes at rows 18 to 22 of 48."""

    def draw(skin=(222, 184, 150), hair=(50, 32, 22), mouth=(170, 70, 70), scale=8):
        image = Image.new("RGB", (48 * scale, 48 * scale), (70, 90, 120))
        pen = ImageDraw.Draw(image)

        def shape(kind, colour, *corners):
            getattr(pen, kind)([scale * c for c in corners], fill=colour)

        shape("ellipse", hair, 4, -2, 44, 30)
        shape("ellipse", skin, 7, 2, 41, 50)
        for x in (16, 32):
            shape("ellipse", (240, 240, 240), x - 4, 18, x + 4, 22.5)
            shape("ellipse", (30, 20, 20), x - 2, 18, x + 2, 22.5)
            shape("rectangle", hair, x - 5, 14, x + 5, 15.5)
        shape("polygon", tuple(c * 7 // 8 for c in skin), 24, 20, 20.5, 31, 27.5, 31)
        shape("ellipse", mouth, 17, 36, 31, 41)
        shape("ellipse", skin, 17, 35, 31, 38)
        image = image.filter(ImageFilter.GaussianBlur(0.8 * scale)).resize((48, 48), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255

    return draw

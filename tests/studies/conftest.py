"""What slow tests of studies share: images, settings and a cache, so that the groundwork is laid once."""

import pytest

from invkit.data import color_digits
from invkit.settings import Settings


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """Keywords of a study on coloured digits."""
    return {
        "data": color_digits("train", copies=4),
        "held_out": color_digits("test", copies=2),
        "settings": Settings.quick(),
        "preprocess": lambda x: x,
        "cache": tmp_path_factory.mktemp("studies"),
        "progress": False,
    }

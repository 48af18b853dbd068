"""Shared by the tests of studies."""

import pytest

from invkit.explainer import Explainer


@pytest.fixture
def no_training(monkeypatch):
    """Fail the test if anything is trained."""
    monkeypatch.setattr(Explainer, "fit", lambda *_, **__: pytest.fail("training began"))

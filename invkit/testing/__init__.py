"""The conformance kit: functions that check in a plugin's tests that it keeps invkit's contracts.

::

    from invkit.testing import check_interpretee

    def test_my_model():
        print(check_interpretee(load_model("tiny", weights="random", local_files_only=True)))

Each function runs a fixed list of checks, needs no download, and returns a :class:`Report`. It raises AssertionError
with that report if a check fails that is not in `expected_failures`, a mapping from checks to reasons, or if a check
passes that is in it.
"""

from invkit.testing.autoencoder import check_autoencoder
from invkit.testing.embedder import check_embedder
from invkit.testing.flow_block import check_flow_block
from invkit.testing.interpretee import check_interpretee
from invkit.testing.plugin import check_plugin
from invkit.testing.report import CheckResult, Report

__all__ = [
    "CheckResult",
    "Report",
    "check_autoencoder",
    "check_embedder",
    "check_flow_block",
    "check_interpretee",
    "check_plugin",
]

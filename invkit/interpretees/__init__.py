"""Φ of any network, cut at any layer."""

from invkit.interpretees.module import ModuleInterpretee, as_interpretee
from invkit.interpretees.preprocess import Preprocess

__all__ = ["ModuleInterpretee", "Preprocess", "as_interpretee"]

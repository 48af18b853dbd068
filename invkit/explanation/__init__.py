"""Explanations of layers: what they hold, how they are evaluated, shown and saved."""

from invkit.explanation.attribution import Attribution
from invkit.explanation.explanation import Explanation
from invkit.explanation.fidelity import Fidelity
from invkit.explanation.held_out import HeldOut
from invkit.explanation.profile import Profile

__all__ = ["Attribution", "Explanation", "Fidelity", "HeldOut", "Profile"]

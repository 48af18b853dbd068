"""What a user holds, keeps and shows."""

from invkit.explanation.attribution import Attribution
from invkit.explanation.explanation import Explanation
from invkit.explanation.held_out import HeldOut
from invkit.explanation.profile import Profile

__all__ = ["Attribution", "Explanation", "HeldOut", "Profile"]

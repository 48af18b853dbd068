"""What a user holds, keeps and shows."""

from invkit.explanation.attribution import Attribution
from invkit.explanation.explanation import Explanation, HeldOut

__all__ = ["Attribution", "Explanation", "HeldOut"]

"""What a user holds, keeps and shows."""

from invkit.explanation.explanation import Explanation, HeldOut

__all__ = ["Explanation", "HeldOut"]

"""`make demo`: SqueezeNet learns handwritten digits in random colours, and is explained while it learns."""

from invkit.studies.demo.run import run_demo

__all__ = ["run_demo"]

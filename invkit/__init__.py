"""invkit: what a layer of a vision network represents, and what it throws away.

::

    explainer = invkit.Explainer(images, concepts={"class": labels})
    explanation = explainer.explain(model, "layer4")
    explanation.sample(x, n=8)      # images that the layer cannot tell from x
    explanation.invariance()        # how much it throws away
    explanation.concepts()          # how much of each concept it keeps

Importing this module imports no torch; the names below, and rooms such as `invkit.studies`, do when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Attribution": "invkit.explanation",
    "Autoencoder": "invkit.core",
    "AutoencoderSettings": "invkit.autoencoders",
    "BigAutoencoder": "invkit.autoencoders",
    "ConvAutoencoder": "invkit.autoencoders",
    "Estimate": "invkit.core",
    "Explainer": "invkit.explainer",
    "Explanation": "invkit.explanation",
    "FitSettings": "invkit.training",
    "FlowBlock": "invkit.core",
    "FlowSettings": "invkit.flows",
    "ImageSet": "invkit.data",
    "Interpretee": "invkit.core",
    "InvkitError": "invkit.errors",
    "ModuleInterpretee": "invkit.interpretees",
    "PerceptualDistance": "invkit.interpretees",
    "Preprocess": "invkit.interpretees",
    "Profile": "invkit.explanation",
    "Settings": "invkit.settings",
    "TrainedAutoencoder": "invkit.autoencoders",
    "color_digits": "invkit.data",
    "explain": "invkit.explainer",
    "layers": "invkit.interpretees",
    "load_autoencoder": "invkit.autoencoders",
    "load_model": "invkit.interpretees",
    "as_image_set": "invkit.data",
    "profile": "invkit.explainer",
    "set_verbosity": "invkit.utils.progress",
    "train_autoencoder": "invkit.autoencoders",
}

_ROOMS = frozenset(
    {"autoencoders", "core", "data", "evaluation", "flows", "interpretees", "studies", "testing", "utils"}
)

__all__ = [
    "Attribution",
    "Autoencoder",
    "AutoencoderSettings",
    "BigAutoencoder",
    "ConvAutoencoder",
    "Estimate",
    "Explainer",
    "Explanation",
    "FitSettings",
    "FlowBlock",
    "FlowSettings",
    "ImageSet",
    "Interpretee",
    "InvkitError",
    "ModuleInterpretee",
    "PerceptualDistance",
    "Preprocess",
    "Profile",
    "Settings",
    "TrainedAutoencoder",
    "as_image_set",
    "color_digits",
    "explain",
    "layers",
    "load_autoencoder",
    "load_model",
    "profile",
    "set_verbosity",
    "train_autoencoder",
]

if TYPE_CHECKING:
    from invkit.autoencoders import (
        AutoencoderSettings,
        BigAutoencoder,
        ConvAutoencoder,
        TrainedAutoencoder,
        load_autoencoder,
        train_autoencoder,
    )
    from invkit.core import Autoencoder, Estimate, FlowBlock, Interpretee
    from invkit.data import ImageSet, as_image_set, color_digits
    from invkit.errors import InvkitError
    from invkit.explainer import Explainer, explain, profile
    from invkit.explanation import Attribution, Explanation, Profile
    from invkit.flows import FlowSettings
    from invkit.interpretees import ModuleInterpretee, PerceptualDistance, Preprocess, layers, load_model
    from invkit.settings import Settings
    from invkit.training import FitSettings
    from invkit.utils.progress import set_verbosity


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"invkit.{name}")
    raise AttributeError(f"module 'invkit' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*__all__, *_ROOMS})

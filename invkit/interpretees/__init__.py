"""Models to explain: Φ(x) at any layer of any network, preprocessing, weights, perceptual distances."""

from invkit.interpretees.listing import for_listing, layers
from invkit.interpretees.module import ModuleInterpretee, NamedLayer
from invkit.interpretees.perceptual import PerceptualDistance
from invkit.interpretees.preprocess import IMAGENET, Preprocess
from invkit.interpretees.resolve import as_interpretee, load_model, warn_of_unknown_preprocessing
from invkit.interpretees.tokens import TokenLayout
from invkit.interpretees.weights import fit_weights, hub_file, load_weights, published_weights, read_weights

__all__ = [
    "IMAGENET",
    "ModuleInterpretee",
    "NamedLayer",
    "PerceptualDistance",
    "Preprocess",
    "TokenLayout",
    "as_interpretee",
    "fit_weights",
    "for_listing",
    "hub_file",
    "layers",
    "load_model",
    "load_weights",
    "published_weights",
    "read_weights",
    "warn_of_unknown_preprocessing",
]

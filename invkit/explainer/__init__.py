"""The `Explainer`: images, autoencoder, codes and semantic flow, with which models are explained layer by layer."""

from invkit.explainer.api import explain, profile
from invkit.explainer.explainer import Explainer, as_explainer
from invkit.explainer.validation import find_layers, one_layer

__all__ = ["Explainer", "as_explainer", "explain", "find_layers", "one_layer", "profile"]

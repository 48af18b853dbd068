"""The abstract contracts `Interpretee`, `Autoencoder` and `FlowBlock`, and the values that all rooms exchange."""

from invkit.core.autoencoder import Autoencoder, Posterior
from invkit.core.estimate import Estimate
from invkit.core.flow import FlowBlock, Transformed
from invkit.core.interpretee import Interpretee, LayerInfo

__all__ = ["Autoencoder", "Estimate", "FlowBlock", "Interpretee", "LayerInfo", "Posterior", "Transformed"]

"""The abstract contracts (`Interpretee`, `Autoencoder`, `FlowBlock`, `Embedder`) and the values that they exchange."""

from invkit.core.autoencoder import Autoencoder, Posterior
from invkit.core.embedder import Embedder
from invkit.core.estimate import Estimate
from invkit.core.flow import FlowBlock, Transformed
from invkit.core.interpretee import Interpretee, LayerInfo

__all__ = ["Autoencoder", "Embedder", "Estimate", "FlowBlock", "Interpretee", "LayerInfo", "Posterior", "Transformed"]

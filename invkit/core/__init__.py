"""The three contracts that everything else is written against. Abstract only: nothing here computes."""

from invkit.core.autoencoder import Autoencoder, Posterior
from invkit.core.flow import FlowBlock, Transformed
from invkit.core.interpretee import Interpretee, LayerInfo

__all__ = ["Autoencoder", "FlowBlock", "Interpretee", "LayerInfo", "Posterior", "Transformed"]

"""Attribute arithmetic in z̄, a baseline of edits: add the mean code of one value, subtract that of another."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from invkit.data import Concept

__all__ = ["AttributeArithmetic"]

_PENALTY = 1e-3  # of the ridge regression, relative to the mean variance of the values


class AttributeArithmetic:
    """Edits codes by z̄ + B (y* − y), B from a ridge regression of z̄ on the values y of one concept.

    For one-hot classes B holds their mean codes, so that an edit adds mean(z̄ | target) − mean(z̄ | own). For numbers and
    colours it is the direction in which the mean code moves with the value. Values are the labels of image and donor,
    which :meth:`SemanticFlow.swap` does not need.

    Args:
        latents: codes of training images, (N, D).
        concepts: of the same images.
    """

    def __init__(self, latents: Tensor, concepts: Mapping[str, Concept]) -> None:
        self._directions = {name: _regressed(concept.targets(), latents) for name, concept in concepts.items()}

    def edit(self, latents: Tensor, concept: str, own: Tensor, target: Tensor) -> Tensor:
        """Return edited codes (B, D).

        Args:
            latents: (B, D).
            concept: name.
            own: its value before, as :meth:`Concept.targets` returns it, (B, d).
            target: its value after, (B, d).
        """
        return latents + (target - own) @ self._directions[concept]


def _regressed(values: Tensor, latents: Tensor) -> Tensor:
    """Return B (d, D) of the regression latents ≈ values B + constant."""
    x = (values - values.mean(0)).double()
    covariance = x.T @ x / len(x)
    covariance += _PENALTY * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=x.dtype)
    return torch.linalg.solve(covariance, x.T @ (latents - latents.mean(0)).double() / len(x)).float()

"""Models whose weights mean nothing: an explanation that does not change with them explains nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

from invkit.utils.random import generator_for

__all__ = ["cascade", "randomised"]

_LEAST = 0.02  # spread of what was constant, relative to its size


def randomised(model: nn.Module, seed: int = 0, only: set[str] | None = None) -> nn.Module:
    """Return a copy whose parameters are all drawn anew.

    Each is normal with the mean and standard deviation that it had, so that activations keep about their size; what
    was constant (a norm's scale, a class token) gets a spread of 0.02. Going by parameters and not by modules'
    `reset_parameters` misses none: that one leaves 24.7 % of torchvision's ViT-B/16 as it was, among them the
    attention's `in_proj_weight` (Adebayo et al., *Sanity Checks for Saliency Maps*, 2018).

    Args:
        model: it is left as it is.
        seed: of the draws.
        only: names of the parameters; None for all.
    """
    found = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            if only is not None and name not in only:
                continue
            values = parameter.double()
            mean = values.mean()
            std = values.std(correction=0).clamp(min=_LEAST * max(1.0, float(mean.abs())))
            drawn = torch.randn(parameter.shape, generator=generator_for(seed, "randomised", name), dtype=torch.float64)
            parameter.copy_(mean + std * drawn.to(values.device))
    return found


def cascade(model: nn.Module, stages: int = 4, seed: int = 0) -> Iterator[tuple[float, nn.Module]]:
    """Return copies of a model with ever more randomised parameters, from the output towards the input.

    Args:
        model: it is left as it is.
        stages: number of copies, at most one for each parameter; the last has no parameter of its own.
        seed: of the draws.

    Yields:
        the share of parameters (numbers) that are randomised, and the copy.
    """
    names = [name for name, _ in model.named_parameters()]
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    stages = min(stages, len(names))
    for stage in range(1, stages + 1):
        chosen = set(names[len(names) - round(len(names) * stage / stages) :])
        yield sum(sizes[name] for name in chosen) / sum(sizes.values()), randomised(model, seed, chosen)

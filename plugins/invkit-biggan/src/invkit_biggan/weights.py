"""Published files and random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from invkit.errors import ArtefactError
from invkit.interpretees import fit_weights, read_weights
from invkit.utils.random import generator_for
from invkit_biggan.decoder import BigGANDecoder

__all__ = ["calibrate", "load"]


def _file(name: str) -> str:
    """Return the name of the published file."""
    return f"{name}-pytorch_model.bin" if "deep" in name else f"{name}.pth"


def load(name: str, weights: str | None, *, local_files_only: bool = False) -> BigGANDecoder:
    """Load a decoder, in evaluation mode.

    Args:
        name: the architecture.
        weights: ``random``; or a file, a folder or ``hf-hub:owner/name`` with a published file. Width and number of
            classes are read off the file.
        local_files_only: never download.

    Raises:
        ArtefactError: no weights are named, nothing is there, or the file is of another architecture.
    """
    if weights is None:
        raise ArtefactError(
            f"The weights of {name} are not fetched for you",
            expected=f"the file {_file(name)}, {_origin(name)}",
            got="weights=None",
            hint="Pass the path of that file, or of a folder with it, as `weights`, or pass weights='random'.",
        )
    if weights == "random":
        decoder = BigGANDecoder(name)
        calibrate(decoder)
        return decoder.eval()
    inside = Path(weights) / _file(name)
    state = read_weights(inside if inside.exists() else weights, local_files_only=local_files_only)
    embedding, last = _telling(name, state, weights)
    decoder = BigGANDecoder(name, width=len(last), classes=embedding.shape[1])
    fit_weights(decoder.generator, state, weights)
    return decoder.eval()


def _origin(name: str) -> str:
    if "deep" in name:
        return "which Hugging Face made from DeepMind's weights for pytorch-pretrained-biggan"
    return "which GANalyze (Goetschalckx et al., 2019) made from DeepMind's weights and CompVis used"


def _telling(name: str, state: dict[str, Tensor], source: str) -> tuple[Tensor, Tensor]:
    """Return two tensors whose shapes contain the number of classes and the width."""
    if "deep" in name:
        keys = ["embeddings.weight", "generator.bn.weight"]
    else:
        keys = ["linear.weight", "ScaledCrossReplicaBN.weight"]
    if not all(key in state for key in keys):
        raise ArtefactError(
            f"The weights in {source} are not those of {name}",
            expected=" and ".join(keys),
            got=", ".join(list(state)[:3]) or "no tensors",
            hint="biggan-* reads GANalyze's files, biggan-deep-* those of Hugging Face.",
        )
    return state[keys[0]], state[keys[1]]


@torch.no_grad()
def calibrate(decoder: BigGANDecoder) -> None:
    """Set the statistics of batch normalisation from a batch (Brock et al., sec. 4.1), for random weights."""

    def measure(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        variance, mean = torch.var_mean(inputs[0], (0, 2, 3))
        for name, buffer in _statistics(norm).items():
            buffer.copy_((mean if "mean" in name else variance).expand_as(buffer))  # for every truncation

    norms = [module for module in decoder.generator.modules() if _statistics(module)]
    handles = [norm.register_forward_pre_hook(measure) for norm in norms]
    try:
        decoder.decode(torch.randn(4, *decoder.latent_shape, generator=generator_for(0, "calibrate")))
    finally:
        for handle in handles:
            handle.remove()


def _statistics(module: nn.Module) -> dict[str, Tensor]:
    return {name: buffer for name, buffer in module.named_buffers(recurse=False) if name.startswith("running_")}

"""Checks of an autoencoder."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from invkit.core import Autoencoder
from invkit.testing.compare import distance, expect, expect_close, expect_within
from invkit.testing.report import NotApplicableError, Report, conclude, run_checks
from invkit.utils.random import generator_for

__all__ = ["AUTOENCODER_CHECKS", "check_autoencoder"]

_ROWS = 3
_OTHER_BATCH = 1e-3  # libraries choose algorithms by batch size


@dataclass(frozen=True)
class Subject:
    """An autoencoder under test. Checks run on copies of it."""

    autoencoder: Autoencoder

    def images(self) -> Tensor:
        """Return random images to encode, (B, 3, S, S)."""
        if not self.autoencoder.has_encoder:
            raise NotApplicableError("it has no encoder")
        size = self.autoencoder.image_size
        images = torch.rand(_ROWS, 3, size, size, generator=generator_for(0, "testing images"))
        return images.to(self.autoencoder.device)

    def latents(self) -> Tensor:
        """Draw latents from the prior, (B, *latent_shape)."""
        latents = torch.randn(_ROWS, *self.autoencoder.latent_shape, generator=generator_for(0, "testing latents"))
        return latents.to(self.autoencoder.device)

    def fresh(self, training: bool = False) -> Autoencoder:
        """Return a copy without gradients, in training or evaluation mode."""
        autoencoder = copy.deepcopy(self.autoencoder).train(training)
        autoencoder.zero_grad()
        return autoencoder


@torch.no_grad()
def decoding_gives_images(s: Subject) -> str:
    """Latents of the prior are decoded to finite float32 images (B, 3, S, S)."""
    size = s.autoencoder.image_size
    images = s.fresh().decode(s.latents())
    shape = (_ROWS, 3, size, size)
    expect(images.shape == shape, f"images are {tuple(images.shape)}, not {shape}")
    expect(images.dtype == torch.float32, f"images are {images.dtype}")
    expect(bool(images.isfinite().all()), "images of prior samples are not finite")
    return f"{size} px, codes of {math.prod(s.autoencoder.latent_shape)}"


@torch.no_grad()
def images_lie_in_0_to_1(s: Subject) -> None:
    """Decoded images lie in [0, 1], also those of unlikely latents."""
    for scale in (1, 3):
        images = s.fresh().decode(scale * s.latents())
        low, high = float(images.min()), float(images.max())
        expect(low >= 0 and high <= 1, f"images of {scale} σ range from {low:.3g} to {high:.3g}")


@torch.no_grad()
def encoding_gives_a_posterior(s: Subject) -> None:
    """Mean and standard deviation are (B, *latent_shape), finite, float32; the deviation is positive."""
    posterior = s.fresh().encode(s.images())
    for what, value in {"mean": posterior.mean, "std": posterior.std}.items():
        expect(value.shape == s.latents().shape, f"{what} is {tuple(value.shape)}, not {tuple(s.latents().shape)}")
        expect(value.dtype == torch.float32, f"{what} is {value.dtype}")
        expect(bool(value.isfinite().all()), f"{what} is not finite")
    expect(bool((posterior.std > 0).all()), f"std reaches down to {float(posterior.std.min()):.3g}")


@torch.no_grad()
def sampling_depends_on_its_generator_only(s: Subject) -> None:
    """The same seed draws the same code, another seed another one, and the global generator is not used."""
    posterior = s.fresh().encode(s.images())
    state = torch.get_rng_state()
    first, again, other = (posterior.sample(torch.Generator(s.autoencoder.device).manual_seed(k)) for k in (0, 0, 1))
    expect(distance(again, first) == 0, "two draws of one seed differ")
    expect(distance(other, first) > 0, "draws of two seeds are the same")
    expect(torch.equal(torch.get_rng_state(), state), "a draw moves torch's global generator")


@torch.no_grad()
def encoding_a_batch_of_one_equals_its_row(s: Subject) -> None:
    """In evaluation mode an image has the same code alone and in a batch."""
    autoencoder, images = s.fresh(), s.images()
    alone, whole = autoencoder.encode(images[1:2]), autoencoder.encode(images)
    expect_close(alone.mean, whole.mean[1:2], _OTHER_BATCH, "mean alone and in a batch")
    expect_close(alone.std, whole.std[1:2], _OTHER_BATCH, "std alone and in a batch")


@torch.no_grad()
def decoding_a_batch_of_one_equals_its_row(s: Subject) -> None:
    """In evaluation mode a code has the same image alone and in a batch."""
    autoencoder, latents = s.fresh(), s.latents()
    alone, whole = autoencoder.decode(latents[1:2]), autoencoder.decode(latents)
    expect_close(alone, whole[1:2], _OTHER_BATCH, "image alone and in a batch")


def gradients_reach_the_encoder(s: Subject) -> str:
    """The reconstruction error has gradients in all parameters that the code depends on, through a sampled code."""
    encoder = _reached(s, lambda a: a.encode(s.images()).mean.square().sum() + a.encode(s.images()).std.sum())
    both = _reached(s, lambda a: (a.decode(a.encode(s.images()).sample()) - s.images()).square().sum())
    expect(bool(encoder), "the code has no gradient in any parameter")
    missed = encoder - both
    expect(not missed, f"the images' error does not reach {', '.join(sorted(missed)[:3])}")
    return f"{len(encoder)} parameters"


def gradients_reach_the_decoder(s: Subject) -> str:
    """Decoded images have gradients in parameters and in the code."""
    latents = s.latents().requires_grad_()
    reached = _reached(s, lambda a: a.decode(latents).square().sum())
    expect(bool(reached), "images have no gradient in any parameter")
    expect(latents.grad is not None and bool((latents.grad != 0).any()), "images have no gradient in the code")
    return f"{len(reached)} parameters"


def _reached(s: Subject, loss: Callable[[Autoencoder], Tensor]) -> set[str]:
    """Return the names of the parameters in which a loss has a nonzero gradient."""
    autoencoder = s.fresh(training=True)
    loss(autoencoder).backward()
    found = set()
    for name, parameter in autoencoder.named_parameters():
        if parameter.grad is not None:
            expect(bool(parameter.grad.isfinite().all()), f"the gradient of '{name}' is not finite")
            if bool((parameter.grad != 0).any()):
                found.add(name)
    return found


@torch.no_grad()
def saved_state_restores_the_images(s: Subject) -> None:
    """A copy with all parameters and buffers set to zero decodes the same images after load_state_dict."""
    autoencoder, other = s.fresh(), s.fresh()
    for tensor in [*other.parameters(), *other.buffers()]:
        tensor.zero_()
    other.load_state_dict(autoencoder.state_dict())
    expect_within(other.decode(s.latents()), autoencoder.decode(s.latents()), 0.0, "images of loaded and saved weights")


def config_builds_it_again(s: Subject) -> None:
    """`config` can be saved as JSON and builds an autoencoder that takes the same weights."""
    autoencoder = s.fresh()
    config = json.loads(json.dumps(autoencoder.config))
    other = type(autoencoder)(**config)
    other.load_state_dict(autoencoder.state_dict())
    expect(other.config == autoencoder.config, f"the config of the copy is {other.config}, not {autoencoder.config}")
    expect(other.image_size == autoencoder.image_size, f"the copy has {other.image_size} px")
    with torch.no_grad():
        images = other.to(s.autoencoder.device).eval().decode(s.latents())
        expect_close(images, autoencoder.decode(s.latents()), 1e-5, "images of the copy")


AUTOENCODER_CHECKS: dict[str, Callable[[Subject], str | None]] = {
    check.__name__: check
    for check in (
        decoding_gives_images,
        images_lie_in_0_to_1,
        encoding_gives_a_posterior,
        sampling_depends_on_its_generator_only,
        encoding_a_batch_of_one_equals_its_row,
        decoding_a_batch_of_one_equals_its_row,
        gradients_reach_the_encoder,
        gradients_reach_the_decoder,
        saved_state_restores_the_images,
        config_builds_it_again,
    )
}


def check_autoencoder(
    autoencoder: Autoencoder,
    *,
    expected_failures: Mapping[str, str] | None = None,
    raise_on_failure: bool = True,
) -> Report:
    """Check that an autoencoder keeps the contract of :class:`invkit.core.Autoencoder`.

    Args:
        autoencoder: autoencoder with any weights, on any device. Checks run on copies of it.
        expected_failures: reasons by names of checks that fail; AUTOENCODER_CHECKS has the names.
        raise_on_failure: False returns the report in any case.

    Returns:
        the result of each check.

    Raises:
        AssertionError: a check failed unexpectedly, or an expected failure passed.
        SettingsError: an expected failure is not the name of a check.

    Example:
        >>> from invkit import ConvAutoencoder
        >>> report = check_autoencoder(ConvAutoencoder(28, 8, width=4))
        >>> report.passed, len(report.results)
        (True, 10)
    """
    results = run_checks(AUTOENCODER_CHECKS, Subject(autoencoder))
    return conclude(type(autoencoder).__name__, results, expected_failures, raise_on_failure)

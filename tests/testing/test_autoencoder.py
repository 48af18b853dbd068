"""Every check of an autoencoder fails for an autoencoder with that error."""

import pytest
import torch

from invkit.autoencoders import ConvAutoencoder
from invkit.core import Posterior
from invkit.testing import check_autoencoder
from invkit.testing.autoencoder import AUTOENCODER_CHECKS


class Right(ConvAutoencoder):
    def __init__(self, image_size=28, latent_dim=4, width=4):
        super().__init__(image_size, latent_dim, width)


class Crops(Right):
    def decode(self, latents):
        return super().decode(latents)[..., 1:]


class EndlessImages(Right):
    def decode(self, latents):
        return super().decode(latents) / 0


class DoublePrecision(Right):
    def decode(self, latents):
        return super().decode(latents).double()


class FromMinusOne(Right):
    def decode(self, latents):
        return 2 * super().decode(latents) - 1


class RareCodesOverflow(Right):
    def decode(self, latents):
        return super().decode(latents) + latents.abs().amax().clamp(min=3) - 3


class NegativeStd(Right):
    def encode(self, images):
        posterior = super().encode(images)
        return Posterior(posterior.mean, posterior.std - 1)


class WideCode(Right):
    def encode(self, images):
        posterior = super().encode(images)
        return Posterior(posterior.mean.repeat(1, 2), posterior.std.repeat(1, 2))


class Careless(Posterior):
    def sample(self, generator=None):
        return self.mean + self.std * torch.randn_like(self.mean)


class Greedy(Posterior):
    def sample(self, generator=None):
        return self.mean


class CarelessDraws(Right):
    def encode(self, images):
        posterior = super().encode(images)
        return Careless(posterior.mean, posterior.std)


class NoDraws(Right):
    def encode(self, images):
        posterior = super().encode(images)
        return Greedy(posterior.mean, posterior.std)


class CentredCodes(Right):
    def encode(self, images):
        posterior = super().encode(images)
        return Posterior(posterior.mean - posterior.mean.mean(0), posterior.std)


class BrightestOfTheBatch(Right):
    def decode(self, latents):
        images = super().decode(latents)
        return images / images.amax()


class DetachedCode(Right):
    def encode(self, images):
        posterior = super().encode(images)
        return Posterior(posterior.mean.detach(), posterior.std.detach())


class DetachedSample(Posterior):
    def sample(self, generator=None):
        return super().sample(generator).detach()


class DetachedDraws(Right):
    def encode(self, images):
        posterior = super().encode(images)
        return DetachedSample(posterior.mean, posterior.std)


class DetachedImages(Right):
    def decode(self, latents):
        return super().decode(latents).detach().requires_grad_()


class DetachedFromTheCode(Right):
    def decode(self, latents):
        return super().decode(latents.detach())


class UnsavedBuffer(Right):
    def __init__(self, image_size=28, latent_dim=4, width=4):
        super().__init__(image_size, latent_dim, width)
        self.register_buffer("contrast", torch.tensor(0.5), persistent=False)

    def decode(self, latents):
        return super().decode(latents) * self.contrast


class AnotherConfig(Right):
    def __init__(self, image_size=28, latent_dim=4, width=4):
        super().__init__(image_size, latent_dim, width)
        self.config = {**self.config, "width": width + 1}


class ConfigIsNoJson(Right):
    def __init__(self, image_size=28, latent_dim=4, width=4):
        super().__init__(image_size, latent_dim, width)
        self.config = {**self.config, "width": torch.tensor(width)}


WRONG = [
    (Crops, "decoding_gives_images", "images are (3, 3, 28, 27)"),
    (EndlessImages, "decoding_gives_images", "not finite"),
    (DoublePrecision, "decoding_gives_images", "torch.float64"),
    (FromMinusOne, "images_lie_in_0_to_1", "images of 1 σ range from -"),
    (RareCodesOverflow, "images_lie_in_0_to_1", "images of 3 σ"),
    (NegativeStd, "encoding_gives_a_posterior", "std reaches down to -"),
    (WideCode, "encoding_gives_a_posterior", "mean is (3, 8), not (3, 4)"),
    (CarelessDraws, "sampling_depends_on_its_generator_only", "two draws of one seed differ"),
    (NoDraws, "sampling_depends_on_its_generator_only", "draws of two seeds are the same"),
    (CentredCodes, "encoding_a_batch_of_one_equals_its_row", "mean alone and in a batch"),
    (BrightestOfTheBatch, "decoding_a_batch_of_one_equals_its_row", "image alone and in a batch"),
    (DetachedCode, "gradients_reach_the_encoder", "does not require grad"),
    (DetachedDraws, "gradients_reach_the_encoder", "error does not reach encoder."),
    (DetachedImages, "gradients_reach_the_decoder", "no gradient in any parameter"),
    (DetachedFromTheCode, "gradients_reach_the_decoder", "no gradient in the code"),
    (UnsavedBuffer, "saved_state_restores_the_images", "images of loaded and saved weights"),
    (AnotherConfig, "config_builds_it_again", "size mismatch"),
    (ConfigIsNoJson, "config_builds_it_again", "not JSON serializable"),
]


@pytest.mark.parametrize(("kind", "check", "message"), WRONG)
def test_each_error_fails_its_check(kind, check, message):
    report = check_autoencoder(kind(), raise_on_failure=False)
    found = {r.name: str(r.error) for r in report.results if r.outcome == "failed"}
    assert message in found.get(check, f"passed; failed: {found}")


def test_every_check_has_a_failing_case():
    assert {check for _, check, _ in WRONG} == set(AUTOENCODER_CHECKS)


@pytest.mark.parametrize("size", [28, 45])
def test_the_built_in_autoencoder_passes_and_is_not_changed(size):
    autoencoder = ConvAutoencoder(size, 5, width=4)
    before = {key: value.clone() for key, value in autoencoder.state_dict().items()}
    report = check_autoencoder(autoencoder)
    assert [r.outcome for r in report.results] == ["passed"] * len(AUTOENCODER_CHECKS)
    assert autoencoder.training
    assert all(p.grad is None for p in autoencoder.parameters())
    for key, value in autoencoder.state_dict().items():
        assert torch.equal(value, before[key])

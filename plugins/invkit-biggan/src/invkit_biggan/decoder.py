"""BigGAN as a decoder D and a prior p(z̄), without an encoder (paper, sec. B.6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import NoReturn

import torch
from torch import Tensor

from invkit.autoencoders.biggan import BigGAN
from invkit.core import Autoencoder
from invkit.data import Generated, ImageSet, as_concept
from invkit.errors import DataError, InvkitError, SettingsError
from invkit.utils.random import generator_for
from invkit_biggan.deep import BigGANDeep
from invkit_biggan.dequantize import EmbeddingVAE, train_dequantizer
from invkit_biggan.sampling import truncated_normal

__all__ = ["BigGANDecoder"]

_CHUNK = 16  # batch size of decoding


class BigGANDecoder(Autoencoder):
    """Codes z̄ = (z̃, Wc) to images: z̃ is noise, Wc the embedding of a class; N = z_dim + 128, 268 for BigGAN at 256 px.

    There is no encoder: codes are drawn and decoded to images. A model is explained on those images:
    ``invkit.explain(model, layer, decoder.image_set(20_000))``.

    Args:
        architecture: ``biggan-SIZE`` or ``biggan-deep-SIZE`` with 128, 256 or 512.
        width: channels of the last block; None for 96 (BigGAN) or 128 (deep), those of the published files.
        classes: number of classes.
        truncation: truncation of drawn codes and, for BigGAN-deep, of the batch statistics of :meth:`decode`; see
            :meth:`sample`.
        swapped_statistics: see :class:`invkit_biggan.deep.BigGANDeep`.

    Attributes:
        generator: the network, under the published names.
        bound: z̃ / truncation lies in ±bound. 2.5 for BigGAN, as in the authors' study of texture bias; 2 for
            BigGAN-deep, as when its batch statistics were measured.

    Raises:
        SettingsError: an unknown architecture, or a truncation outside (0, 1].
    """

    has_encoder = False

    def __init__(
        self,
        architecture: str = "biggan-256",
        *,
        width: int | None = None,
        classes: int = 1000,
        truncation: float = 1.0,
        swapped_statistics: bool = False,
    ) -> None:
        super().__init__()
        family, _, size = architecture.rpartition("-")
        if family not in ("biggan", "biggan-deep") or size not in ("128", "256", "512"):
            raise SettingsError(
                "No such BigGAN", expected="biggan-SIZE or biggan-deep-SIZE with 128, 256 or 512", got=architecture
            )
        _check(truncation)
        deep = family == "biggan-deep"
        width = width or (128 if deep else 96)
        self.config = {
            "architecture": architecture,
            "width": width,
            "classes": classes,
            "truncation": truncation,
            "swapped_statistics": swapped_statistics,
        }
        self.bound, self.image_size = 2.0 if deep else 2.5, int(size)
        self.generator: BigGAN | BigGANDeep
        if deep:
            self.generator = BigGANDeep(self.image_size, width, classes, swapped_statistics)
        else:
            self.generator = BigGAN(self.image_size, width, classes)
        self.latent_shape = (self.generator.z_dim + self.embeddings.shape[1],)
        self.eval()

    def train(self, mode: bool = True) -> BigGANDecoder:
        """Stay in evaluation mode: statistics and singular vectors are part of the published network."""
        return super().train(False)

    @property
    def truncation(self) -> float:
        """Truncation of drawn codes and of BigGAN-deep's batch statistics; set it before drawing."""
        return float(self.config["truncation"])

    @truncation.setter
    def truncation(self, value: float) -> None:
        _check(value)
        self.config["truncation"] = value

    @property
    def embeddings(self) -> Tensor:
        """The embedding Wc of each class, (classes, 128)."""
        return self.generator.embeddings_of_classes

    def encode(self, images: Tensor) -> NoReturn:
        """Raise an error: there is no encoder.

        Raises:
            InvkitError: always.
        """
        raise InvkitError(
            f"{self.config['architecture']} has no encoder",
            expected="drawn codes, with the images decoded from them",
            got="images to encode",
            hint="Explain a model on `decoder.image_set(n)`; `decoder.sample(n)` returns codes and images.",
        )

    def decode(self, latents: Tensor, truncation: float | None = None) -> Tensor:
        """Return images (B, 3, S, S) in [0, 1] of codes (B, N); differentiable.

        Args:
            latents: codes, z̃ first.
            truncation: truncation with which z̃ was drawn, in (0, 1]; None for the decoder's own. It selects the batch
                statistics of BigGAN-deep; BigGAN has one set of them.

        Raises:
            DataError: codes of another shape.
            SettingsError: truncation outside (0, 1].
        """
        if latents.ndim != 2 or latents.shape[1:] != self.latent_shape:
            raise DataError(
                "These are no codes of this decoder", expected=f"(B, {self.latent_shape[0]})", got=tuple(latents.shape)
            )
        truncation = self.truncation if truncation is None else truncation
        _check(truncation)
        z, embedding = latents.split([self.generator.z_dim, self.embeddings.shape[1]], 1)
        return (self.generator(z, embedding, truncation) + 1) / 2

    def sample(
        self,
        n: int,
        truncation: float | None = None,
        seed: int = 0,
        *,
        classes: Tensor | None = None,
        dequantizer: EmbeddingVAE | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw codes and decode them.

        z̃ = truncation · (standard normal values, those beyond ±`bound` drawn again). For the truncation of Brock et
        al., by a threshold alone, leave `truncation` at 1 and set `bound`.

        Args:
            n: number of codes.
            truncation: in (0, 1]: a smaller value has better but more similar images; None for the decoder's own.
            seed: seed of all random numbers.
            classes: (n,) integers; None draws them uniformly.
            dequantizer: adds noise to each class embedding; images are decoded from the codes that are returned.

        Returns:
            codes (n, N) and their images (n, 3, S, S) in [0, 1], on the decoder's device.

        Raises:
            SettingsError: truncation outside (0, 1].
            DataError: unknown classes.
        """
        return self._draw(n, truncation, generator_for(seed, "biggan"), classes, dequantizer)

    def image_set(
        self,
        n: int,
        *,
        seed: int = 0,
        classes: Sequence[int] | None = None,
        dequantizer: EmbeddingVAE | None = None,
    ) -> ImageSet:
        """Return data to explain a model on: n codes, decoded to images whenever these are read.

        Args:
            n: number of codes; at least 20,000 for reliable metrics.
            seed: seed of all random numbers.
            classes: draw only these, as the concept `class`; None draws all classes, without a concept.
            dequantizer: adds noise to each class embedding; None trains that of table S17 at a width of 512, about a
                minute on a CPU. Without it t could put all its density on as many points as there are classes.

        Raises:
            DataError: unknown classes.
        """
        generator = generator_for(seed, "biggan image set")
        chosen = torch.as_tensor(range(len(self.embeddings)) if classes is None else classes)
        rows = torch.randint(len(chosen), (n,), generator=generator)
        vae = dequantizer or train_dequantizer(self.embeddings, width=512, seed=seed)
        latents = self._codes(n, self.truncation, generator, chosen[rows], vae).cpu()
        concepts = {} if classes is None else {"class": as_concept("class", chosen[rows])}
        return ImageSet(Generated(self, latents), concepts)

    def stream(
        self,
        batch_size: int,
        truncation: float | None = None,
        seed: int = 0,
        *,
        batches: int | None = None,
        start: int = 0,
        dequantizer: EmbeddingVAE | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of codes and images as :meth:`sample` draws them; no data set is stored.

        Args:
            batch_size: size of each batch.
            truncation: see :meth:`sample`.
            seed: seed; batch k depends on it and on k only.
            batches: number of batches; None for an endless stream.
            start: number of the first batch, to continue a stream.
            dequantizer: see :meth:`sample`.
        """
        for k in islice(count(start), batches):
            yield self._draw(batch_size, truncation, generator_for(seed, "biggan", k), None, dequantizer)

    @torch.no_grad()
    def _draw(
        self,
        n: int,
        truncation: float | None,
        generator: torch.Generator,
        classes: Tensor | None,
        dequantizer: EmbeddingVAE | None,
    ) -> tuple[Tensor, Tensor]:
        truncation = self.truncation if truncation is None else truncation
        _check(truncation)
        latents = self._codes(n, truncation, generator, classes, dequantizer)
        return latents, torch.cat([self.decode(part, truncation) for part in latents.split(_CHUNK)])

    @torch.no_grad()
    def _codes(
        self,
        n: int,
        truncation: float,
        generator: torch.Generator,
        classes: Tensor | None,
        dequantizer: EmbeddingVAE | None,
    ) -> Tensor:
        z = truncation * truncated_normal(n, self.generator.z_dim, self.bound, generator)
        number = len(self.embeddings)
        if classes is None:
            classes = torch.randint(number, (n,), generator=generator)
        elif classes.shape != (n,) or not ((classes >= 0) & (classes < number)).all():
            raise DataError("These are no classes", expected=f"({n},) of 0…{number - 1}", got=classes)
        embedding = self.embeddings[classes.to(self.embeddings.device)]
        if dequantizer is not None:
            embedding = dequantizer.dequantize(embedding, generator)
        return torch.cat([z.to(embedding), embedding], 1)


def _check(truncation: float) -> None:
    if not 0 < truncation <= 1:
        raise SettingsError("The truncation is out of its range", expected="0 < truncation ≤ 1", got=truncation)

"""A trained autoencoder with its metrics: save, load, and write a page."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from invkit.autoencoders.loading import MANIFEST, WEIGHTS, describe, load_autoencoder, load_folder
from invkit.autoencoders.settings import AutoencoderSettings
from invkit.autoencoders.sheet import sheet
from invkit.core import Autoencoder, Estimate
from invkit.report.figures import histories, prior_sheet
from invkit.report.html import Picture, Section, Table, write_page
from invkit.training import FitResult
from invkit.utils import distributed
from invkit.utils.io import read_json, read_tensors, write_json, write_tensors
from invkit.utils.text import one_line

__all__ = ["TrainedAutoencoder", "as_autoencoder", "training_settings"]


@dataclass(frozen=True, repr=False)
class TrainedAutoencoder:
    """A trained autoencoder with its metrics; pass it to :func:`invkit.explain` as `autoencoder`.

    Attributes:
        autoencoder: E and D, in evaluation mode.
        metrics: held-out metrics by name, see :func:`invkit.evaluation.reconstruction_metrics`.
        result: how training went, with the history of each term of the loss.
        examples: some held-out images, uint8 (R, 3, S, S).
        protocol: data, settings, seed and versions.

    Example:
        >>> import tempfile, torch, invkit
        >>> settings = invkit.AutoencoderSettings(latent_dim=8, width=4, fit=invkit.FitSettings(steps=2, batch_size=8))
        >>> trained = invkit.train_autoencoder(torch.rand(48, 3, 28, 28), settings=settings)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     loaded = TrainedAutoencoder.load(trained.save(folder))
        >>> loaded.metrics == trained.metrics
        True
    """

    autoencoder: Autoencoder
    metrics: dict[str, Estimate]
    result: FitResult
    examples: Tensor
    protocol: dict[str, Any]

    def __repr__(self) -> str:
        metrics = ", ".join(f"{name}={value}" for name, value in self.metrics.items())
        name = type(self.autoencoder).__name__
        return one_line(f"TrainedAutoencoder({name}, {self.autoencoder.image_size} px, {metrics})")

    def __str__(self) -> str:
        metrics = ", ".join(f"{name} {value}" for name, value in self.metrics.items())
        return f"{type(self.autoencoder).__name__} at {self.autoencoder.image_size} px: {metrics}"

    def save(self, folder: str | Path) -> Path:
        """Write weights and examples as safetensors, then everything else as a JSON manifest; return the folder."""
        folder = Path(folder)
        write_tensors(folder / WEIGHTS, self.autoencoder.state_dict())
        write_tensors(folder / "examples.safetensors", {"pixels": self.examples})
        manifest = {
            "kind": "autoencoder",
            "autoencoder": describe(self.autoencoder),
            "metrics": {name: vars(value) for name, value in self.metrics.items()},
            "result": asdict(self.result),
            "protocol": self.protocol,
        }
        write_json(folder / MANIFEST, manifest)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> TrainedAutoencoder:
        """Read what :meth:`save` wrote.

        Raises:
            ArtefactError: the folder does not exist or is damaged.
        """
        autoencoder, manifest = load_folder(Path(folder))
        metrics = {name: Estimate(**value) for name, value in manifest["metrics"].items()}
        examples = read_tensors(Path(folder) / "examples.safetensors")[0]["pixels"]
        return cls(autoencoder, metrics, FitResult.from_dict(manifest["result"]), examples, manifest["protocol"])

    def to_html(self, file: str | Path) -> Path:
        """Write one page: reconstructions, samples of the prior, curves of training, metrics, protocol."""
        images = self.examples.float() / 255
        caption = "Held-out images, their reconstructions D(E_μ(x)), and samples of the prior."
        pictures = [Picture(prior_sheet(*sheet(self.autoencoder, images)), caption)]
        if self.result.history:
            steps, losses, held_out = zip(*self.result.history, strict=True)
            names = dict.fromkeys(name for terms in self.result.terms for name in terms)
            terms = {name: [t.get(name, math.nan) for t in self.result.terms] for name in names}
            drawn = histories(steps, {"loss": losses, "validation loss": held_out, **terms})
            caption = "Loss in nats per image value and its terms, by training step."
            pictures.append(Picture(drawn, caption))
        rows = [[name, str(value)] for name, value in self.metrics.items()]
        protocol = [[str(name), str(value)] for name, value in self.protocol.items()]
        tables = [Table(["held out", "± standard error"], rows), Table(["protocol", ""], protocol)]
        title = f"{type(self.autoencoder).__name__} at {self.autoencoder.image_size} px"
        return write_page(Path(file), title, [Section(title, "", pictures, tables)])


def as_autoencoder(given: Autoencoder | TrainedAutoencoder | str | Path | None) -> Autoencoder | None:
    """Return the autoencoder that a user passed: as itself, trained, as its folder, or by a plugin's name.

    One that is loaded here is moved to this process's GPU, if any.

    Example:
        >>> import invkit
        >>> autoencoder = invkit.ConvAutoencoder(28, latent_dim=16, width=8)
        >>> as_autoencoder(autoencoder) is autoencoder, as_autoencoder(None)
        (True, None)
    """
    if not isinstance(given, (str, Path)):
        return given.autoencoder if isinstance(given, TrainedAutoencoder) else given
    loaded = load_autoencoder(given)
    distributed.move_to_device(loaded)
    return loaded


def training_settings(given: Autoencoder | TrainedAutoencoder | str | Path) -> AutoencoderSettings | None:
    """Return the settings that reproduce the training of an autoencoder; None if unknown.

    They are known for results of :func:`train_autoencoder` and their folders, unless a distance replaced the settings'
    or the training was interrupted.

    Example:
        >>> import invkit
        >>> training_settings(invkit.ConvAutoencoder(28, latent_dim=16, width=8)) is None
        True
    """
    if isinstance(given, (str, Path)) and (Path(given) / MANIFEST).exists():
        manifest = read_json(Path(given) / MANIFEST)
        protocol, result = manifest["protocol"], FitResult.from_dict(manifest["result"])
    elif isinstance(given, TrainedAutoencoder):
        protocol, result = given.protocol, given.result
    else:
        return None
    known = protocol.get("settings")
    if known is None or protocol.get("perceptual distance") is not None or not result.complete:
        return None
    return AutoencoderSettings.from_dict(known)

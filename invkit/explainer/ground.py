"""What all layers of all models share, and where its parts are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invkit.core import Autoencoder
from invkit.data import Codes, ImageSet
from invkit.flows import SemanticFlow
from invkit.settings import Settings
from invkit.training import FitResult, FitSettings, Task, fit_or_load
from invkit.utils.io import content_hash

__all__ = ["SOME", "Groundwork", "as_wanted", "name_of"]

SOME = 4096  # images from which flows are initialised


@dataclass(frozen=True)
class Groundwork:
    """What all layers of all models share: images, codes, e and the likelihood without a condition.

    Attributes:
        train: images to train on, copies included.
        held_out: images to judge by.
        autoencoder: E and D.
        about: class, config and hash of the weights of the autoencoder.
        codes: posteriors of the training images' codes, in files where there is a cache.
        held_out_codes: those of the held-out images.
        e: semantic flow, None without concepts.
        figures: held-out PSNR of reconstructions and NLL(z̄).
        settings: all of them.
        seed: of every draw.
        cache: folder of trained parts, None to keep none.
        key: hash of all that decides the codes: images, autoencoder, seed, version.
        complete: whether all training so far came to its own end; what is made with half a part is not kept.
        whole: raise KeyboardInterrupt where a training is cut short, instead of going on with what it came to.
    """

    train: ImageSet
    held_out: ImageSet
    autoencoder: Autoencoder
    about: dict[str, Any]
    codes: Codes
    held_out_codes: Codes
    e: SemanticFlow | None
    figures: dict[str, float]
    settings: Settings
    seed: int
    cache: Path | None
    key: str
    complete: bool = True
    whole: bool = False

    @property
    def labels(self) -> list[dict[str, dict[str, Any]]]:
        """Kind, values and names of all concepts, of training and of held-out images, to name files after."""
        return [{name: vars(c) for name, c in part.concepts.items()} for part in (self.train, self.held_out)]

    def path(self, kind: str, *things: Any) -> Path | None:
        """Name the file of a trained part after all that decides it."""
        return self._kept_in(f"{name_of(kind, self.key, *things)}.safetensors")

    def folder(self, kind: str, *things: Any) -> Path | None:
        """Name a folder of latents, or of an explanation, after all that decides it."""
        return self._kept_in(name_of(kind, self.key, *things))

    def _kept_in(self, name: str) -> Path | None:
        return None if self.cache is None or not self.complete else self.cache / name

    def fit(
        self, task: Task, how: FitSettings, path: Path | None, on_begin: Callable[[], None] | None = None
    ) -> FitResult:
        """Train a part, or find it at its path; `on_begin` as of :func:`fit_or_load`.

        Raises:
            KeyboardInterrupt: it was cut short, and is wanted whole.
        """
        result = fit_or_load(task, how, path=path, seed=self.seed, on_begin=on_begin)
        return as_wanted(result, self.whole)


def name_of(kind: str, *things: Any) -> str:
    """Name a part after all that decides it."""
    return f"{kind}-{content_hash(*things)}"


def as_wanted(result: FitResult, whole: bool) -> FitResult:
    """Refuse by KeyboardInterrupt what was cut short, where it is wanted whole."""
    if whole and not result.complete:
        raise KeyboardInterrupt
    return result

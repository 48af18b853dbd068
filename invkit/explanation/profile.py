"""`Profile`: explanations of several layers or checkpoints, compared as curves."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invkit.core import Estimate
from invkit.errors import ArtefactError, SettingsError
from invkit.explanation.explanation import Explanation
from invkit.explanation.fidelity import disagreement_text
from invkit.explanation.sections import fidelity_section, metrics_table, protocol_section, samples_section
from invkit.report import NUMBERS, Picture, Section, Table, curves, data_frame, metric_rows, write_page
from invkit.utils.io import content_hash, read_json
from invkit.utils.manifest import read_manifest, write_manifest
from invkit.utils.text import one_line

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["Profile"]

_FORMAT = 1


@dataclass(frozen=True, eq=False, repr=False)
class Profile:
    """Explanations of several layers, or of several checkpoints, that share data, autoencoder and e.

    Return value of :func:`invkit.profile`; :meth:`load` reads a saved one.

    Attributes:
        explanations: by layer or checkpoint, in order.
        axis: what the order is: `layer`, `checkpoint` or `training step`.

    Example:
        >>> profile
        Profile(layer: '0', '2')
        >>> profile["2"].layer
        '2'
        >>> [f"{name}: {share:.1f}" for name, share in profile.invariance().items()]  # doctest: +ELLIPSIS
        ['0: ... ± ...', '2: ... ± ...']
    """

    explanations: Mapping[str, Explanation]
    axis: str = "layer"

    def __getitem__(self, name: str) -> Explanation:
        return self.explanations[name]

    def __len__(self) -> int:
        return len(self.explanations)

    def __repr__(self) -> str:
        return one_line(f"Profile({self.axis}: {', '.join(map(repr, self.explanations))})")

    def _repr_html_(self) -> str:
        return f'<p>{html.escape(repr(self))}</p><img src="{Picture(self.plot(), "").source}">'

    def invariance(self) -> dict[str, Estimate]:
        """Return the invariance of each explanation (eq. 19).

        Example:
            >>> list(profile.invariance())
            ['0', '2']
        """
        return {name: explanation.invariance() for name, explanation in self.explanations.items()}

    def concepts(self) -> dict[str, Mapping[str, Estimate]]:
        """Return the concept shares of each explanation (eq. 20).

        Example:
            >>> profile.concepts()["0"]["digit"] == profile["0"].concepts()["digit"]
            True
        """
        return {name: explanation.concepts() for name, explanation in self.explanations.items()}

    def plot(self) -> Figure:
        """Draw invariance and concept shares over the axis, with bands of one standard error.

        Example:
            >>> profile.plot().axes[0].get_xlabel()
            'layer'
        """
        series: dict[str, list[Estimate]] = {}
        for explanation in self.explanations.values():
            for name, estimate in {"invariance": explanation.invariance(), **explanation.concepts()}.items():
                series.setdefault(name, []).append(estimate)
        names = list(self.explanations)
        at: list[Any] = [int(n) for n in names] if all(n.isdecimal() for n in names) else names
        return curves(at, series, self.axis)

    def to_dict(self) -> dict[str, Any]:
        """Return layer and metrics of each explanation as JSON-able values; None for a number that is not finite.

        Example:
            >>> profile.to_dict()["2"]["layer"]
            '2'
        """
        return {name: explanation.to_dict() for name, explanation in self.explanations.items()}

    def to_frame(self) -> pd.DataFrame:
        """Return all metrics as a pandas data frame, one row per explanation, metric and concept.

        Returns:
            a frame with the columns `name` (of the layer or checkpoint) and those of
            :meth:`Explanation.to_frame`: `layer`, `metric`, `concept`, `value`, `standard_error` and `n`.

        Raises:
            PluginError: pandas is not installed.

        Example:
            >>> frame = profile.to_frame()
            >>> frame[frame.metric == "concepts"].pivot(index="name", columns="concept", values="value").shape
            (2, 4)
        """
        rows = (
            {"name": name, "layer": explanation.layer, **row}
            for name, explanation in self.explanations.items()
            for row in metric_rows(explanation.metrics)
        )
        return data_frame(rows, "name", "layer", "metric", "concept", *NUMBERS)

    def sections(self, *, every: bool = False) -> list[Section]:
        """Return the sections of a page: curves, metrics, fidelity, and samples.

        Args:
            every: show samples of every explanation instead of the first and the last.
        """
        header, rows = metrics_table(dict(self.explanations))
        caption = (
            "Invariance (eq. 19): share of the variance of the image code that the representation leaves open. "
            "Concepts (eq. 20): share of each concept's variance that it explains. Bands: one standard error."
        )
        doubts = {name: disagreement_text(explanation) for name, explanation in self.explanations.items()}
        text = " ".join(f"{self.axis.capitalize()} {name}: {doubt}" for name, doubt in doubts.items() if doubt)
        found = [Section("Curves", text, [Picture(self.plot(), caption)], [Table(header, rows)])]
        found.append(fidelity_section(dict(self.explanations)))
        names = list(self.explanations)
        for name in names if every else dict.fromkeys([names[0], names[-1]]):
            title = f"Samples: {self.axis} {name}"
            found.append(samples_section(self.explanations[name], title))
        return found

    def to_html(self, file: str | Path) -> Path:
        """Write one HTML file that needs no network to be viewed.

        Raises:
            ArtefactError: the file can't be written.
        """
        protocol = next(iter(self.explanations.values())).protocol
        short = [name for name, explanation in self.explanations.items() if "training" in explanation.protocol]
        if short:
            protocol = {**protocol, "training": f"cut short: {', '.join(short)}"}
        return write_page(Path(file), f"Over {self.axis}s", [*self.sections(), protocol_section(protocol)])

    def save(self, folder: str | Path) -> Path:
        """Write all explanations, each in a numbered subfolder that `Explanation.load` reads too.

        Raises:
            ArtefactError: the folder can't be written.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     loaded = invkit.Profile.load(profile.save(folder))
            >>> loaded.invariance() == profile.invariance()
            True
        """
        folder = Path(folder)
        explanations = []
        for number, (name, explanation) in enumerate(self.explanations.items()):
            saved = explanation.save(folder / str(number))
            explanations.append({"name": name, "hash": content_hash(read_json(saved / "manifest.json"))})
        write_manifest(folder / "profile.json", {"format": _FORMAT, "axis": self.axis, "explanations": explanations})
        return folder

    @classmethod
    def load(cls, folder: str | Path, model: Any = None, **parts: Any) -> Profile:
        """Read a profile written by :meth:`save`. Nothing in the folder is executed; the autoencoder is shared.

        Args:
            folder: path of the folder.
            model: the explained model, or a mapping of models by the names of `explanations` for checkpoints; their
                weights are checked. None to load without models.
            parts: as for :meth:`Explanation.load`.

        Raises:
            ArtefactError: missing, truncated, of another version, or of another model.
            SettingsError: models by other names than those of the explanations.
        """
        folder = Path(folder)
        manifest = read_manifest(folder / "profile.json", "a profile", _FORMAT)
        names = [each["name"] for each in manifest["explanations"]]
        models = model if isinstance(model, Mapping) else dict.fromkeys(names, model)
        if models.keys() != set(names):
            raise SettingsError("The models have other names", expected=", ".join(names), got=", ".join(models))
        found: dict[str, Explanation] = {}
        for number, each in enumerate(manifest["explanations"]):
            if content_hash(read_json(folder / str(number) / "manifest.json")) != each["hash"]:
                raise ArtefactError(
                    f"{folder / str(number)} is not the explanation that was saved with this profile",
                    hint="The folder was changed or copied in part; copy or make it again.",
                )
            found[each["name"]] = Explanation.load(folder / str(number), models[each["name"]], **parts)
            parts = {**parts, "autoencoder": found[each["name"]].autoencoder}
        return cls(found, manifest["axis"])
